/* SPDX-License-Identifier: MIT */
/*
 * Whose connections the local bypass takes: those whose ends are the proxy's peers, in whatever
 * family and namespace, and nobody else's; and what is left of it when its process is gone.
 */
#include "bypass_bench.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "net.h"

#define FLOW 3
#define NO_FAST_OPEN 77 /* an exit status */

/* The four sockets of a flow; -1: not yet. */
struct four {
	struct bypass *bypass;
	int listener[2]; /* the proxy's and the backend's */
	int c, a, b, s;
	uint64_t own[2];
};

static int listen_at(int family, uint16_t port, struct addr *at)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
	socklen_t len = sizeof(*at);

	*at = (struct addr){ 0 };
	at->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		at->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else /* any address, also of IPv4 */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	addr_set_port(at, port);
	if (bind(fd, &at->sa, addr_len(at)) || listen(fd, 4) || getsockname(fd, &at->sa, &len)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int connect_to(const struct addr *at)
{
	struct addr to = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.in = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons(addr_port(at)) };
	if (!connect(fd, &to.sa, sizeof(to.in)))
		return fd;
	close(fd);
	return -1;
}

/* A and C; the backend listens, too. */
static void four_open(struct four *f, int family, struct addr *backend)
{
	struct addr proxy;

	*f = (struct four){ .c = -1, .a = -1, .b = -1, .s = -1 };
	f->bypass = open_bypass(MIB);
	assert_non_null(f->bypass);
	f->listener[0] = listen_at(AF_INET, 0, &proxy);
	f->listener[1] = listen_at(family, 0, backend);
	assert_true(f->listener[0] >= 0 && f->listener[1] >= 0);
	assert_int_equal(bypass_listen(f->bypass, &proxy, true), 0);
	f->c = connect_to(&proxy);
	f->a = accept(f->listener[0], NULL, NULL);
	assert_true(f->c >= 0 && f->a >= 0);
	assert_int_equal(bypass_cookie(f->a, &f->own[0]), 0);
}

/* B, as the proxy connects. */
static void four_connect(struct four *f, const struct addr *backend)
{
	struct addr to = { 0 };

	f->b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bypass_expect(f->bypass, f->b, &f->own[1]), 0);
	to.in = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons(addr_port(backend)) };
	assert_int_equal(connect(f->b, &to.sa, sizeof(to.in)), 0);
}

static void four_close(struct four *f)
{
	const int fds[] = { f->c, f->a, f->b, f->s, f->listener[0], f->listener[1] };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	bypass_close(f->bypass);
}

/* What C sends now comes to S, and neither A nor B has seen it. */
static void expect_joined(const struct four *f)
{
	char text[8] = "";

	assert_int_equal(send(f->c, "around", 6, 0), 6);
	assert_int_equal(recv(f->s, text, sizeof(text), MSG_DONTWAIT), 6);
	assert_string_equal(text, "around");
	assert_int_equal(bypass_direction(f->bypass, FLOW, 0)->bytes, 6);
}

static void families_may_differ(void **state)
{
	const int families[] = { AF_INET, AF_INET6 };
	struct addr backend;
	struct four f;

	(void)state;
	SKIP_IF_REASON();
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		four_open(&f, families[i], &backend); /* S has ::ffff:127.0.0.1, and B 127.0.0.1 */
		four_connect(&f, &backend);
		f.s = accept(f.listener[1], NULL, NULL);
		assert_int_equal(bypass_pair(f.bypass, FLOW, f.own), BYPASS_PAIRED);
		assert_int_equal(bypass_ends(f.bypass), 2);
		expect_joined(&f);
		four_close(&f);
	}
}

/* The backend's side of a connection may be established long after the proxy's. */
static void the_backend_may_be_known_last(void **state)
{
	int patience_s = 5;
	struct addr backend;
	char text[8] = "";
	struct four f;

	(void)state;
	SKIP_IF_REASON();
	four_open(&f, AF_INET, &backend);
	assert_int_equal(setsockopt(f.listener[1], IPPROTO_TCP, TCP_DEFER_ACCEPT, &patience_s,
				    sizeof(patience_s)),
			 0);
	four_connect(&f, &backend);
	assert_int_equal(bypass_pair(f.bypass, FLOW, f.own), BYPASS_BACKEND_UNKNOWN);
	assert_int_equal(bypass_direction(f.bypass, FLOW, 0)->owner, 0);
	/* The first bytes, which the proxy has relayed. */
	assert_int_equal(send(f.c, "one", 3, 0), 3);
	assert_int_equal(recv(f.a, text, sizeof(text), 0), 3);
	assert_int_equal(send(f.b, text, 3, 0), 3);
	f.s = accept(f.listener[1], NULL, NULL);
	assert_int_equal(recv(f.s, text, sizeof(text), 0), 3);
	assert_true(bypass_direction(f.bypass, FLOW, 0)->owner);
	expect_joined(&f);
	four_close(&f);
}

/* See test_bypass_ended.c: such an end is redirected to no more. */
static void who_has_ended_is_not_joined(void **state)
{
	struct addr backend;
	char text[8] = "";
	struct four f;

	(void)state;
	SKIP_IF_REASON();
	for (int ends = 0; ends < 2; ends++) {
		four_open(&f, AF_INET, &backend);
		four_connect(&f, &backend);
		f.s = accept(f.listener[1], NULL, NULL);
		assert_int_equal(shutdown(ends == 0 ? f.c : f.s, SHUT_WR), 0);
		assert_int_equal(bypass_pair(f.bypass, FLOW, f.own), BYPASS_END_ENDED);
		/* Its bytes and the other's take the ordinary way. */
		assert_int_equal(send(ends == 0 ? f.s : f.c, "one", 3, 0), 3);
		assert_int_equal(recv(ends == 0 ? f.b : f.a, text, sizeof(text), 0), 3);
		four_close(&f);
	}
}

/* One that is not joined in the end is no longer what may surprise a program: FIONREAD tells what
 * has come by TCP. */
static void who_is_released_is_ordinary(void **state)
{
	int unread[2] = { -1, -1 };
	struct addr backend;
	uint64_t cookie;
	struct four f;

	(void)state;
	SKIP_IF_REASON();
	four_open(&f, AF_INET, &backend);
	assert_true(bypass_recognizes(f.bypass, f.own[0]));
	assert_int_equal(bypass_cookie(f.c, &cookie), 0);
	assert_false(bypass_recognizes(f.bypass, cookie));
	assert_int_equal(send(f.a, "one", 3, 0), 3);
	ioctl(f.c, FIONREAD, &unread[0]);
	bypass_release(f.bypass, f.own[0]);
	ioctl(f.c, FIONREAD, &unread[1]);
	print_message("    FIONREAD: %d before, %d after\n", unread[0], unread[1]);
	assert_int_equal(unread[1], 3);
	four_close(&f);
}

static void a_flow_needs_a_local_client(void **state)
{
	struct addr backend, elsewhere;
	struct four f;
	int other;

	(void)state;
	SKIP_IF_REASON();
	four_open(&f, AF_INET, &backend);
	four_connect(&f, &backend);
	other = listen_at(AF_INET, 0, &elsewhere); /* a listener that nobody was told of */
	close(f.c);
	close(f.a);
	f.c = connect_to(&elsewhere);
	f.a = accept(other, NULL, NULL);
	close(other);
	assert_int_equal(bypass_cookie(f.a, &f.own[0]), 0);
	assert_int_equal(bypass_pair(f.bypass, FLOW, f.own), BYPASS_CLIENT_UNKNOWN);
	four_close(&f);
}

/* Neither who connects to another port, nor who connects to the backend without the proxy. */
static void strangers_are_left_alone(void **state)
{
	struct addr backend, elsewhere;
	int other, fds[4];
	struct four f;

	(void)state;
	SKIP_IF_REASON();
	four_open(&f, AF_INET, &backend);
	assert_int_equal(bypass_ends(f.bypass), 1);
	other = listen_at(AF_INET, 0, &elsewhere);
	fds[0] = connect_to(&elsewhere);
	fds[1] = accept(other, NULL, NULL);
	fds[2] = connect_to(&backend);
	fds[3] = accept(f.listener[1], NULL, NULL);
	assert_int_equal(bypass_ends(f.bypass), 1);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(other);
	four_close(&f);
}

/* In a namespace of its own the same address and port are somebody else's. Exit status 0: so it is.
 */
static int be_in_another_namespace(const struct bypass *b, uint16_t port)
{
	struct addr at;
	int fd;

	if (net_unshare())
		return 1;
	fd = listen_at(AF_INET, port, &at);
	if (fd < 0 || connect_to(&at) < 0 || accept(fd, NULL, NULL) < 0)
		return 2;
	return bypass_ends(b) == 1 ? 0 : 3;
}

static void the_same_port_elsewhere_is_another(void **state)
{
	struct addr backend, proxy;
	socklen_t len = sizeof(proxy);
	struct four f;
	int status;
	pid_t pid;

	(void)state;
	SKIP_IF_REASON();
	four_open(&f, AF_INET, &backend);
	assert_int_equal(getsockname(f.listener[0], &proxy.sa, &len), 0);
	pid = fork();
	if (!pid)
		_exit(be_in_another_namespace(f.bypass, addr_port(&proxy)));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	four_close(&f);
}

/* Programs that watch the connections of a cgroup: how many; -1: it can't be asked. */
static int count_watchers(const char *cgroup)
{
	union bpf_attr attr = { 0 };
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	attr.query.target_fd = (uint32_t)fd;
	attr.query.attach_type = BPF_CGROUP_SOCK_OPS;
	if (fd < 0 || syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)))
		return -1;
	close(fd);
	return (int)attr.query.prog_cnt;
}

static void be_killed(const char *cgroup, int ready)
{
	struct bypass_conf conf = {
		.workers = 1,
		.flows_per_worker = 1,
		.unread_cap_bytes = MIB,
		.cgroup = cgroup,
	};
	struct bypass *b = NULL;

	if (!bypass_open(&conf, &b, skip_reason, sizeof(skip_reason)) && write(ready, "", 1) == 1)
		for (;;)
			pause();
	_exit(1);
}

/* A cgroup of the test's own, where nobody else attaches anything. */
static bool make_cgroup(char path[1024])
{
	static char text[1 << 20];
	FILE *f = fopen("/proc/self/mountinfo", "r");

	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	if (!bypass_cgroup_root(text, path, 512))
		return false;
	snprintf(path + strlen(path), 64, "/shunt-test-%d", (int)getpid());
	return !mkdir(path, 0700);
}

static void a_dead_process_leaves_nothing_attached(void **state)
{
	char cgroup[1024], byte;
	int ready[2];
	pid_t pid;

	(void)state;
	SKIP_IF_REASON();
	if (!make_cgroup(cgroup))
		skip();
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid)
		be_killed(cgroup, ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(count_watchers(cgroup), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (int k = 0; k < 1000 && count_watchers(cgroup); k++)
		usleep(1000);
	assert_int_equal(count_watchers(cgroup), 0);
	assert_int_equal(rmdir(cgroup), 0);
	close(ready[0]);
	close(ready[1]);
}

/* Of sockets that are made in the cgroup no packet leaves that is longer than `most`. 0: so it is. */
static int drop_longer(const char *cgroup, int most)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_1,
		  .off = offsetof(struct __sk_buff, len) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_JGT | BPF_K, .dst_reg = BPF_REG_2, .off = 1, .imm = most },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = { 0 }, attach = { 0 };

	load.prog_type = BPF_PROG_TYPE_CGROUP_SKB;
	load.expected_attach_type = BPF_CGROUP_INET_EGRESS;
	load.insns = (uintptr_t)program;
	load.insn_cnt = ARRAY_SIZE(program);
	load.license = (uintptr_t) "GPL";
	attach.target_fd = (uint32_t)open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	attach.attach_bpf_fd = (uint32_t)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	attach.attach_type = BPF_CGROUP_INET_EGRESS;
	return (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach));
}

static int enter_cgroup(const char *cgroup)
{
	char path[1100];
	FILE *f;
	int rc;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	f = fopen(path, "w");
	if (!f)
		return -1;
	rc = fputs("0", f);
	return fclose(f) || rc < 0 ? -1 : 0;
}

/* Exit status 0: so who begins so has been refused. */
static int send_before_established(const struct bypass *b, const char *cgroup,
				   const struct addr *proxy, bool drops)
{
	static const char bytes[1000];
	uint64_t n[N_BYPASS_COUNTERS];
	int fd, one = 1;

	if (enter_cgroup(cgroup) || (drops && drop_longer(cgroup, 500)))
		return 1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one)) ||
	    sendto(fd, bytes, sizeof(bytes), MSG_FASTOPEN, &proxy->sa, addr_len(proxy)) < 0)
		return NO_FAST_OPEN;
	if (bypass_ends(b) != 1 || bypass_counters(b, n))
		return 2;
	return n[BYPASS_ENDS_REFUSED] == 1 ? 0 : 3;
}

/*
 * By TCP Fast Open a client gives its first bytes to TCP before there is a connection. Whether they
 * went with the SYN or that was dropped: they are on their way still when it is there, and nobody
 * has counted them.
 */
static void who_sends_before_it_is_established_is_refused(void **state)
{
	const bool *drops = *state;
	struct addr backend, proxy;
	socklen_t len = sizeof(proxy);
	char cgroup[1024];
	struct four f;
	int status;
	pid_t pid;

	SKIP_IF_REASON();
	if (!make_cgroup(cgroup))
		skip();
	four_open(&f, AF_INET, &backend);
	assert_int_equal(getsockname(f.listener[0], &proxy.sa, &len), 0);
	pid = fork();
	if (!pid)
		_exit(send_before_established(f.bypass, cgroup, &proxy, *drops));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	four_close(&f);
	UNTIL(!rmdir(cgroup))
		usleep(1000);
	assert_int_equal(access(cgroup, F_OK), -1);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FAST_OPEN) {
		print_message("skipped: clients have no TCP Fast Open here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void the_hierarchy_is_found(void **state)
{
	char path[64];

	(void)state;
	assert_true(bypass_cgroup_root("1 2 0:3 / /proc rw - proc proc rw\n"
				       "32 31 0:28 /a /sub rw shared:3 - cgroup2 none rw\n"
				       "31 23 0:28 / /sys/fs\\040x/cgroup rw shared:9 master:1 - "
				       "cgroup2 cgroup2 rw,nsdelegate\n",
				       path, sizeof(path)));
	assert_string_equal(path, "/sys/fs x/cgroup");
	assert_false(bypass_cgroup_root("1 2 0:3 / /sys/fs/cgroup rw - cgroup cgroup2 rw\n", path,
					sizeof(path)));
	assert_false(bypass_cgroup_root("", path, sizeof(path)));
	assert_false(bypass_cgroup_root("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 x rw", path, 8));
}

static void a_cgroup_must_be_one(void **state)
{
	struct bypass_conf conf = {
		.workers = 1,
		.flows_per_worker = 1,
		.unread_cap_bytes = MIB,
		.cgroup = "/no/such/group",
	};
	struct bypass *b = NULL;
	char why[256];

	(void)state;
	SKIP_IF_REASON();
	assert_int_equal(bypass_open(&conf, &b, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/no/such/group"));
	assert_null(b);
}

int main(void)
{
	static bool with_syn = false, after_syn = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_may_differ),
		cmocka_unit_test(the_backend_may_be_known_last),
		cmocka_unit_test(who_has_ended_is_not_joined),
		cmocka_unit_test(who_is_released_is_ordinary),
		cmocka_unit_test(a_flow_needs_a_local_client),
		cmocka_unit_test(strangers_are_left_alone),
		cmocka_unit_test(the_same_port_elsewhere_is_another),
		cmocka_unit_test(a_dead_process_leaves_nothing_attached),
		cmocka_unit_test_prestate(who_sends_before_it_is_established_is_refused, &with_syn),
		cmocka_unit_test_prestate(who_sends_before_it_is_established_is_refused,
					  &after_syn),
		cmocka_unit_test(the_hierarchy_is_found),
		cmocka_unit_test(a_cgroup_must_be_one),
	};

	return cmocka_run_group_tests(tests, probe_bpf, NULL);
}
