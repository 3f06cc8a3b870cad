/* SPDX-License-Identifier: MIT */
/*
 * A cable between two network namespaces of this test's own: what is sent arrives, from the first
 * packet on, and connections over it have the retransmission timeout that was asked for.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "veth.h"

#define ARRIVAL_MAX_MS 5000
#define PORT 7000
#define RTO_MIN_MS 20
#define RTO_USUAL_US 200000

struct place {
	int netns;
	struct netlink link;
};

static struct place places[2];
static int home = -1;

static void enter(int netns)
{
	assert_int_equal(setns(netns, CLONE_NEWNET), 0);
}

/* "192.0.2.1" or "2001:db8::1" at one end, .2 or ::2 at the other. */
static struct addr address(int family, int end)
{
	static const char *const texts[2][2] = { { "192.0.2.1", "192.0.2.2" },
						 { "2001:db8::1", "2001:db8::2" } };
	struct addr a;

	assert_int_equal(addr_parse_host(texts[family == AF_INET6][end], &a), 0);
	addr_set_port(&a, PORT);
	return a;
}

static int socket_at(int end, int family, int type)
{
	int fd;

	enter(places[end].netns);
	fd = socket(family, type | SOCK_CLOEXEC, 0);
	enter(home);
	assert_true(fd >= 0);
	return fd;
}

static void bind_at(int fd, int end, int family)
{
	struct addr a = address(family, end);

	assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
}

static int make_places(void **state)
{
	(void)state;
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		places[i].netns = places[i].link.fd = -1;
		if (unshare(CLONE_NEWNET)) {
			snprintf(skip_reason, sizeof(skip_reason), "no network namespaces: %s",
				 strerror(errno));
			return 0;
		}
		places[i].netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		assert_int_equal(netlink_open(&places[i].link), 0);
		enter(home);
	}
	return 0;
}

static int leave_places(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		netlink_close(&places[i].link);
		if (places[i].netns >= 0)
			close(places[i].netns);
	}
	close(home);
	return 0;
}

static void connect_places(int family)
{
	const struct veth_end ends[2] = {
		{ places[0].netns, &places[0].link, "left", 2 },
		{ places[1].netns, &places[1].link, "right", 3 },
	};

	SKIP_IF_REASON();
	assert_int_equal(veth_make(ends), 0);
	for (int i = 0; i < 2; i++) {
		struct addr self = address(family, i), peer = address(family, !i);

		assert_int_equal(veth_connect(&ends[i], &self, &peer, RTO_MIN_MS), 0);
	}
}

/* Datagrams are sent once: one that the device drops does not come. */
static void assert_datagram_arrives(int family, int from)
{
	int sender = socket_at(from, family, SOCK_DGRAM);
	int receiver = socket_at(!from, family, SOCK_DGRAM);
	struct addr to = address(family, !from);
	struct pollfd p = { receiver, POLLIN, 0 };
	char text[8] = "";

	bind_at(receiver, !from, family);
	assert_int_equal(sendto(sender, "hello", 5, 0, &to.sa, addr_len(&to)), 5);
	assert_int_equal(poll(&p, 1, ARRIVAL_MAX_MS), 1);
	assert_int_equal(recv(receiver, text, sizeof(text) - 1, 0), 5);
	assert_string_equal(text, "hello");
	close(sender);
	close(receiver);
}

static void assert_short_timeout(int family)
{
	int listener = socket_at(1, family, SOCK_STREAM);
	int client = socket_at(0, family, SOCK_STREAM);
	struct addr to = address(family, 1);
	struct tcp_info info;
	socklen_t len = sizeof(info);

	bind_at(listener, 1, family);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(connect(client, &to.sa, addr_len(&to)), 0);
	assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_in_range(info.tcpi_rto, RTO_MIN_MS * 1000, RTO_USUAL_US - 1);
	close(client);
	close(listener);
}

static void what_is_sent_over_ipv4_arrives(void **state)
{
	(void)state;
	connect_places(AF_INET);
	assert_datagram_arrives(AF_INET, 0);
	assert_datagram_arrives(AF_INET, 1);
	assert_short_timeout(AF_INET);
}

static void what_is_sent_over_ipv6_arrives(void **state)
{
	(void)state;
	connect_places(AF_INET6);
	assert_datagram_arrives(AF_INET6, 0);
	assert_datagram_arrives(AF_INET6, 1);
	assert_short_timeout(AF_INET6);
}

static void an_ifindex_that_is_taken_is_an_error(void **state)
{
	const struct veth_end ends[2] = {
		{ places[0].netns, &places[0].link, "left", NETLINK_LOOPBACK_IFINDEX },
		{ places[1].netns, &places[1].link, "right", 3 },
	};

	(void)state;
	SKIP_IF_REASON();
	assert_true(veth_make(ends) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_sent_over_ipv4_arrives, make_places,
						leave_places),
		cmocka_unit_test_setup_teardown(what_is_sent_over_ipv6_arrives, make_places,
						leave_places),
		cmocka_unit_test_setup_teardown(an_ifindex_that_is_taken_is_an_error, make_places,
						leave_places),
	};

	return cmocka_run_group_tests_name("veth", tests, NULL, NULL);
}
