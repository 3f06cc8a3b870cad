/* SPDX-License-Identifier: MIT */
/* Which devices the wire's program is attached to, and in whose company. */
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "wire_devices_bench.h"

static void assert_text(const struct wire_devices *d, const char *expected)
{
	char text[128];

	assert_string_equal(wire_devices_text(d, text, sizeof(text)), expected);
}

/* What is logged from log_begin() to log_end(). */
static int log_pipe[2], saved_stderr;

static void log_begin(void)
{
	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	assert_return_code(pipe2(log_pipe, O_NONBLOCK), errno);
	dup2(log_pipe[1], STDERR_FILENO);
	log_configure(&(struct log_conf){ .level = LOG_LEVEL_INFO });
}

static void log_end(char *text, size_t size)
{
	ssize_t len;

	log_configure(&(struct log_conf){ .level = LOG_LEVEL_ERROR });
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	len = read(log_pipe[0], text, size - 1);
	text[len > 0 ? len : 0] = '\0';
	close(log_pipe[0]);
	close(log_pipe[1]);
}

static void a_wildcard_is_at_all_that_have_an_address_of_its_family(void **state)
{
	const bool *no_tcx = *state;
	struct wire_devices *d;

	SKIP_IF_REASON();
	ip("tuntap add dev tun0 mode tun");
	ip("address add 10.0.2.1/24 dev tun0");
	d = open_with((struct wire_devices_conf){ .no_tcx = *no_tcx });
	assert_text(d, "none");
	assert_at(d, *no_tcx, "");
	add_listen(d, "::");
	wire_devices_update(d);
	assert_at(d, *no_tcx, "eth1");
	add_listen(d, "0.0.0.0");
	assert_at(d, *no_tcx, "eth1");
	wire_devices_update(d);
	assert_at(d, *no_tcx, "eth0 eth1");
	assert_text(d, "eth1, eth0");
	wire_devices_close(d, false);
	assert_nothing_left();
}

static void an_address_is_at_the_device_that_has_it(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ 0 });
	add_listen(d, "10.0.0.1");
	add_listen(d, "127.0.0.1");
	add_listen(d, "10.9.9.9"); /* on no device */
	wire_devices_update(d);
	assert_at(d, false, "eth0");
	add_listen(d, "fd00::1");
	wire_devices_update(d);
	assert_at(d, false, "eth0 eth1");
	wire_devices_close(d, false);
	assert_nothing_left();
}

/* As routers announce them: packets to it come in by any device. */
static void an_address_of_the_loopback_is_everywhere(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	ip("address add 192.0.2.1/32 dev lo");
	d = open_with((struct wire_devices_conf){ 0 });
	add_listen(d, "192.0.2.1");
	wire_devices_update(d);
	assert_at(d, false, "eth0 eth1");
	wire_devices_close(d, false);
}

static void a_target_is_where_its_routes_lead(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	ip("link add eth3 type veth peer name far3");
	ip("link set eth3 up");
	ip("route add 10.2.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
	ip("route add unreachable 10.3.0.0/16");
	ip("route add 10.4.0.0/16 dev eth3");
	d = open_with((struct wire_devices_conf){ 0 });
	add_target(d, "10.0.0.1"); /* of this machine */
	add_target(d, "127.0.0.1");
	add_target(d, "10.3.0.1");
	add_target(d, "10.99.0.1"); /* no route leads there */
	add_target(d, "2001:db8::1");
	wire_devices_update(d);
	assert_at(d, false, "");
	add_target(d, "::ffff:10.0.0.7");
	wire_devices_update(d);
	assert_at(d, false, "eth0");
	add_target(d, "10.2.0.1");
	wire_devices_update(d);
	assert_at(d, false, "eth0 eth1");
	add_target(d, "10.4.0.1");
	wire_devices_update(d);
	assert_at(d, false, "eth0 eth1 eth3");
	wire_devices_close(d, false);
}

static void a_target_by_ipv6_is_found(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	ip("-6 address add fd02::1/64 dev eth0 nodad");
	ip("-6 route add fd03::/16 nexthop via fd00::2 nexthop via fd02::2");
	d = open_with((struct wire_devices_conf){ 0 });
	add_target(d, "fd00::9");
	wire_devices_update(d);
	assert_at(d, false, "eth1");
	add_target(d, "fd03::1");
	wire_devices_update(d);
	assert_at(d, false, "eth0 eth1");
	wire_devices_close(d, false);
}

/* Both devices have the same address, and a route to the same network. */
static void a_link_local_host_is_where_its_scope_says(void **state)
{
	static const char *const devices[] = { "eth0", "eth2" };

	(void)state;
	SKIP_IF_REASON();
	for (int i = 0; i < 2; i++)
		ip("-6 address add fe80::1/64 dev %s nodad", devices[i]);
	for (int i = 0; i < 4; i++) {
		const char *device = devices[i % 2];
		struct wire_devices *d = open_with((struct wire_devices_conf){ 0 });
		char text[64];

		snprintf(text, sizeof(text), "fe80::%d%%%s", i < 2 ? 1 : 7, device);
		if (i < 2)
			add_listen(d, text);
		else
			add_target(d, text);
		wire_devices_update(d);
		assert_at(d, false, device);
		wire_devices_close(d, false);
	}
}

/* Who wonders why a flow is not on the wire finds it in the log: once. */
static void a_device_that_is_not_fit_is_told_once(void **state)
{
	static const char *const expected[] = {
		"connections by lo stay with the sockets: it leads to this machine itself",
		"connections by tun0 stay with the sockets: its packets have no Ethernet headers",
	};
	struct wire_devices *d;
	char text[8192];

	(void)state;
	SKIP_IF_REASON();
	ip("tuntap add dev tun0 mode tun");
	ip("address add 10.0.2.1/24 dev tun0");
	ip("link set tun0 up");
	d = open_with((struct wire_devices_conf){ 0 });
	add_listen(d, "0.0.0.0"); /* a wildcard means no device in particular */
	log_begin();
	wire_devices_update(d);
	log_end(text, sizeof(text));
	assert_null(strstr(text, "stay with the sockets"));
	add_target(d, "10.0.2.9");
	add_target(d, "10.0.0.1");
	add_target(d, "127.0.0.1");
	log_begin();
	for (int i = 0; i < 3; i++)
		wire_devices_update(d);
	log_end(text, sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const char *first = strstr(text, expected[i]);

		assert_non_null(first);
		assert_null(strstr(first + 1, expected[i]));
	}
	wire_devices_close(d, false);
}

/* IP packets come in by the bridge; a program at its port would see those that are only switched. */
static void of_a_bridge_s_port_the_bridge_is_taken(void **state)
{
	char *names[] = { (char *)"eth2" };
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	ip("link add br0 type bridge");
	ip("link set eth2 master br0");
	ip("link set br0 up");
	ip("address add 10.0.3.1/24 dev br0");
	d = open_with((struct wire_devices_conf){ 0 });
	add_target(d, "10.0.3.9");
	wire_devices_update(d);
	assert_at(d, false, "br0");
	wire_devices_close(d, false);
	d = open_with((struct wire_devices_conf){ .names = names, .n_names = 1 });
	wire_devices_update(d);
	assert_at(d, false, "br0");
	wire_devices_close(d, false);
}

/* A bpffs allows no dots in a name, devices do. */
static void a_device_with_a_dot_in_its_name_is_pinned(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	ip("link set eth2 down");
	ip("link set eth2 name eth2.100");
	ip("link set eth2.100 up");
	ip("address add 10.0.3.1/24 dev eth2.100");
	for (int i = 0; i < 2; i++) {
		d = open_with((struct wire_devices_conf){ .pin_folder = folder });
		add_target(d, "10.0.3.9");
		wire_devices_update(d);
		assert_at(d, false, "eth2.100");
		assert_true(is_pinned("eth2.100", "link_eth2:100"));
		wire_devices_close(d, i == 0);
	}
	assert_nothing_left();
}

static void a_vlan_device_is_taken_itself(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	if (system("ip link add link eth2 name eth2.7 type vlan id 7 2>/dev/null")) {
		print_message("skipped: this kernel has no VLAN devices\n");
		skip();
	}
	ip("address add 10.0.3.1/24 dev eth2.7");
	ip("link set eth2.7 up");
	d = open_with((struct wire_devices_conf){ 0 });
	add_target(d, "10.0.3.9");
	wire_devices_update(d);
	assert_at(d, false, "eth2.7");
	wire_devices_close(d, false);
}

static void names_are_taken_and_nothing_else(void **state)
{
	char *names[] = { (char *)"eth2", (char *)"lo", (char *)"later" };
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){
		.names = names, .n_names = ARRAY_SIZE(names), .loop = &loop });
	add_listen(d, "0.0.0.0");
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_at(d, false, "eth2");
	ip("link add later type veth peer name far3");
	follow();
	assert_at(d, false, "eth2 later");
	wire_devices_close(d, false);
	assert_nothing_left();
}

static void the_parking_device_has_it_always_but_is_not_named(void **state)
{
	struct wire_devices *d;
	struct ifreq request = { .ifr_name = "shunt0", .ifr_flags = IFF_TAP | IFF_NO_PI };
	int tap;

	(void)state;
	SKIP_IF_REASON();
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_return_code(tap, errno);
	assert_return_code(ioctl(tap, TUNSETIFF, &request), errno);
	d = open_with((struct wire_devices_conf){ .always = if_nametoindex("shunt0"),
						  .pin_folder = folder });
	assert_at(d, false, "shunt0");
	assert_text(d, "none");
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_at(d, false, "shunt0 eth0");
	assert_text(d, "eth0");
	assert_int_equal(count_pins(), 1);
	wire_devices_close(d, false);
	assert_nothing_left();
	close(tap);
}

static void without_a_parking_device_it_does_not_open(void **state)
{
	struct wire_devices_conf conf = { .program_fd = program_fd, .always = 4711 };
	struct wire_devices *d = NULL;
	char why[256] = "";

	(void)state;
	SKIP_IF_REASON();
	assert_int_equal(wire_devices_open(&conf, &d, why, sizeof(why)), -ENODEV);
	assert_null(d);
	assert_non_null(strstr(why, "parking device"));
}

static void ours_stands_before_others_and_leaves_them_alone(void **state)
{
	uint32_t ids[PROGRAMS_MAX];
	struct wire_devices *d;
	int other, link;

	(void)state;
	SKIP_IF_REASON();
	other = load_program();
	assert_return_code(other, errno);
	union bpf_attr attr = { .link_create = { .prog_fd = (uint32_t)other,
						 .target_fd = if_nametoindex("eth0"),
						 .attach_type = TCX_INGRESS } };
	link = bpf(BPF_LINK_CREATE, &attr);
	assert_return_code(link, errno);
	d = open_with((struct wire_devices_conf){ 0 });
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_int_equal(programs_at("eth0", ids), 2);
	assert_int_equal(ids[0], program_id(program_fd));
	assert_int_equal(ids[1], program_id(other));
	wire_devices_close(d, false);
	assert_int_equal(programs_at("eth0", ids), 1);
	assert_int_equal(ids[0], program_id(other));
	close(link);
	close(other);
}

static void a_qdisc_with_others_filters_stays(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	assert_int_equal(system("tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress "
				"u32 match u32 0 0"),
			 0);
	d = open_with((struct wire_devices_conf){ .no_tcx = true });
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_at(d, true, "eth0");
	wire_devices_close(d, false);
	assert_false(has_filter("eth0"));
	assert_true(tc_shows("u32", "filter show dev eth0 egress"));
}

/* --- many ------------------------------------------------------------------------------------ */

static void many_targets_are_looked_at_quickly(void **state)
{
	enum { TARGETS = 20000, TIMES = 10 };
	struct wire_devices *d;
	uint64_t ns;

	(void)state;
	SKIP_IF_REASON();
	ip("route add 172.16.0.0/12 via 10.0.0.2");
	d = open_with((struct wire_devices_conf){ 0 });
	for (uint32_t i = 0; i < TARGETS * TIMES; i++) {
		struct addr a = { .in = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)i),
					  .sin_addr.s_addr = htonl(0xac100000 + i % TARGETS) } };

		wire_devices_add_target(d, &a);
	}
	wire_devices_update(d);
	ns = clock_ns();
	wire_devices_update(d);
	ns = clock_ns() - ns;
	print_message("             a look at %d targets: %.1f ms\n", TARGETS, (double)ns / 1e6);
	assert_at(d, false, "eth0");
	wire_devices_close(d, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_HOOK(a_wildcard_is_at_all_that_have_an_address_of_its_family, with_tcx),
		WITH_HOOK(a_wildcard_is_at_all_that_have_an_address_of_its_family, without_tcx),
		TEST(an_address_is_at_the_device_that_has_it),
		TEST(an_address_of_the_loopback_is_everywhere),
		TEST(a_target_is_where_its_routes_lead),
		TEST(a_target_by_ipv6_is_found),
		TEST(a_link_local_host_is_where_its_scope_says),
		TEST(a_device_that_is_not_fit_is_told_once),
		TEST(of_a_bridge_s_port_the_bridge_is_taken),
		TEST(a_device_with_a_dot_in_its_name_is_pinned),
		TEST(a_vlan_device_is_taken_itself),
		TEST(names_are_taken_and_nothing_else),
		TEST(the_parking_device_has_it_always_but_is_not_named),
		TEST(without_a_parking_device_it_does_not_open),
		TEST(ours_stands_before_others_and_leaves_them_alone),
		TEST(a_qdisc_with_others_filters_stays),
		TEST(many_targets_are_looked_at_quickly),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
