/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the wire's devices share: where the kernel says that the program is attached
 * (which programs it has at a device's tcx hook, which filters tc sees there), and a network
 * namespace for each test with a few veth pairs. All have one bpffs, mounted where nobody else sees
 * it. Needs root; without, every test is skipped and says why.
 */
#ifndef SHUNT_TEST_WIRE_DEVICES_BENCH_H
#define SHUNT_TEST_WIRE_DEVICES_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cases.h"
#include "log.h"
#include "net.h"
#include "tcx.h"
#include "wire_devices.h"
#include "wire_hooks.h"

#define TCX_INGRESS 46
#define PROGRAMS_MAX 64

static char folder[64];
static struct loop loop;
static int program_fd = -1, n_changed;
static const bool with_tcx = false, without_tcx = true; /* values of conf.no_tcx */

/* --- the kernel's side ----------------------------------------------------------------------- */

static inline int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* `r0 = -1; exit`: leaves every packet to whoever comes next. */
static inline int load_program(void)
{
	static const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insn_cnt = ARRAY_SIZE(code),
		.insns = (uintptr_t)code,
		.license = (uintptr_t) "MIT",
		.prog_name = "wire_forward",
	};

	return bpf(BPF_PROG_LOAD, &attr);
}

static inline uint32_t program_id(int fd)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr attr = { .info = { .bpf_fd = (uint32_t)fd,
					  .info_len = sizeof(info),
					  .info = (uintptr_t)&info } };

	assert_return_code(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), errno);
	return info.id;
}

/* The ids of the programs at a device's tcx hook, in their order. */
static inline size_t programs_at(const char *device, uint32_t ids[PROGRAMS_MAX])
{
	union bpf_attr attr = { .query = { .target_fd = if_nametoindex(device),
					   .attach_type = TCX_INGRESS,
					   .prog_ids = (uintptr_t)ids,
					   .prog_cnt = PROGRAMS_MAX } };

	assert_int_not_equal(attr.query.target_fd, 0);
	if (bpf(BPF_PROG_QUERY, &attr))
		assert_int_equal(errno, ENOENT);
	return attr.query.prog_cnt;
}

static inline void ip(const char *fmt, ...) printf_like(1, 2);
static inline void ip(const char *fmt, ...)
{
	char command[256] = "ip ";
	va_list args;

	va_start(args, fmt);
	vsnprintf(command + 3, sizeof(command) - 3, fmt, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

/* Is `text` in what tc(8) says of this? */
static inline bool tc_shows(const char *text, const char *fmt, ...) printf_like(2, 3);
static inline bool tc_shows(const char *text, const char *fmt, ...)
{
	char command[128] = "tc ", output[4096];
	va_list args;
	size_t len;
	FILE *f;

	va_start(args, fmt);
	vsnprintf(command + 3, sizeof(command) - 3, fmt, args);
	va_end(args);
	f = popen(command, "r");
	assert_non_null(f);
	len = fread(output, 1, sizeof(output) - 1, f);
	output[len] = '\0';
	assert_int_equal(pclose(f), 0);
	return strstr(output, text);
}

static inline bool has_filter(const char *device)
{
	return tc_shows("wire_forward", "filter show dev %s ingress", device);
}

static inline bool has_qdisc(const char *device)
{
	return tc_shows("clsact", "qdisc show dev %s", device);
}

/* Is the program there, once? And does the module say the same? */
static inline bool is_at(struct wire_devices *d, const char *device, bool no_tcx)
{
	uint32_t ids[PROGRAMS_MAX], own = program_id(program_fd);
	size_t n = programs_at(device, ids);
	bool is_there = no_tcx ? has_filter(device) : n && ids[0] == own;

	assert_in_range(n, 0, no_tcx ? 0 : 1);
	if (d)
		assert_int_equal(wire_devices_has(d, if_nametoindex(device)), is_there);
	return is_there;
}

/* "eth0 eth1": exactly these of a test's devices have the program. */
static inline void assert_at(struct wire_devices *d, bool no_tcx, const char *devices)
{
	struct if_nameindex *all = if_nameindex();

	assert_non_null(all);
	for (struct if_nameindex *i = all; i->if_index; i++) {
		char words[256], name[IF_NAMESIZE + 2];

		snprintf(words, sizeof(words), " %s ", devices);
		snprintf(name, sizeof(name), " %s ", i->if_name);
		if (is_at(d, i->if_name, no_tcx) != !!strstr(words, name))
			fail_msg("%s: expected at \"%s\"", i->if_name, devices);
	}
	if_freenameindex(all);
}

static inline int open_pin(const char *name)
{
	union bpf_attr attr = { 0 };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	attr.pathname = (uintptr_t)path;
	fd = bpf(BPF_OBJ_GET, &attr);
	assert_return_code(fd, errno);
	return fd;
}

static inline struct bpf_link_info pinned_link(const char *name)
{
	struct bpf_link_info info = { 0 };
	int fd = open_pin(name);
	union bpf_attr attr = { .info = { .bpf_fd = (uint32_t)fd,
					  .info_len = sizeof(info),
					  .info = (uintptr_t)&info } };

	assert_return_code(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), errno);
	close(fd);
	return info;
}

/* Is a device's link pinned under this name? (The ifindex of a tcx link is where XDP's is.) */
static inline bool is_pinned(const char *device, const char *name)
{
	return pinned_link(name).xdp.ifindex == if_nametoindex(device);
}

static inline size_t count_pins(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += !strncmp(entry->d_name, "link_", 5);
	closedir(dir);
	return n;
}

/* --- the module's side ----------------------------------------------------------------------- */

static inline void on_changed(void *arg)
{
	(void)arg;
	n_changed++;
}

static inline struct wire_devices *open_with(struct wire_devices_conf conf)
{
	struct wire_devices *d = NULL;
	char why[256] = "";

	conf.program_fd = program_fd;
	conf.changed = on_changed;
	if (wire_devices_open(&conf, &d, why, sizeof(why)))
		fail_msg("%s", why);
	return d;
}

static inline struct addr host(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_host(text, &a), 0);
	addr_set_port(&a, 80);
	return a;
}

static inline void add_listen(struct wire_devices *d, const char *text)
{
	struct addr a = host(text);

	wire_devices_add_listen(d, &a);
}

static inline void add_target(struct wire_devices *d, const char *text)
{
	struct addr a = host(text);

	wire_devices_add_target(d, &a);
}

/* Lets the loop work off what has changed. */
static inline void follow(void)
{
	int before = n_changed;

	UNTIL(n_changed != before)
		assert_int_equal(loop_turn(&loop, 10), 0);
	assert_int_equal(n_changed, before + 1);
}

static inline void assert_nothing_left(void)
{
	struct if_nameindex *all = if_nameindex();
	uint32_t ids[PROGRAMS_MAX];

	for (struct if_nameindex *i = all; i->if_index; i++) {
		assert_int_equal(programs_at(i->if_name, ids), 0);
		assert_false(has_qdisc(i->if_name));
	}
	if_freenameindex(all);
	assert_int_equal(count_pins(), 0);
}

static inline int setup(void **state)
{
	(void)state;
	if (skip_reason[0])
		return 0;
	if (net_unshare())
		return -1;
	n_changed = 0;
	/* Two networks, and a device without an address. */
	for (int i = 0; i < 3; i++) {
		ip("link add eth%d type veth peer name far%d", i, i);
		ip("link set dev eth%d addrgenmode none up", i);
		ip("link set dev far%d addrgenmode none up", i);
	}
	ip("address add 10.0.0.1/24 dev eth0");
	ip("address add 10.0.1.1/24 dev eth1");
	ip("address add fd00::1/64 dev eth1 nodad");
	return loop_init(&loop);
}

static inline int teardown(void **state)
{
	(void)state;
	if (!skip_reason[0])
		loop_close(&loop);
	return 0;
}

/* Mounts a bpffs that only this process sees, and attaches once to see that it can be done. */
static inline int setup_all(void **state)
{
	struct wire_devices_conf conf = { .always = 1 };
	struct wire_devices *d;
	char why[200];
	int rc;

	(void)state;
	log_configure(&(struct log_conf){ .level = LOG_LEVEL_ERROR });
	program_fd = conf.program_fd = load_program();
	if (program_fd < 0) {
		snprintf(skip_reason, sizeof(skip_reason), "no BPF program can be loaded: %s",
			 strerror(errno));
		return 0;
	}
	strcpy(folder, "/tmp/shunt-test-XXXXXX");
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(folder) ||
	    mount("bpf", folder, "bpf", 0, NULL)) {
		snprintf(skip_reason, sizeof(skip_reason), "no bpffs or namespaces: %s",
			 strerror(errno));
		return 0;
	}
	rc = wire_devices_open(&conf, &d, why, sizeof(why));
	if (!tcx_is_supported())
		snprintf(skip_reason, sizeof(skip_reason), "this kernel has no tcx");
	else if (rc)
		snprintf(skip_reason, sizeof(skip_reason), "%s", why);
	else
		wire_devices_close(d, false);
	return 0;
}

static inline int teardown_all(void **state)
{
	(void)state;
	if (folder[0]) {
		umount(folder);
		rmdir(folder);
	}
	if (program_fd >= 0)
		close(program_fd);
	return 0;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITH_HOOK(test, hook)                                                                      \
	{                                                                                          \
		.name = #test ": " #hook, .test_func = test, .setup_func = setup,                  \
		.teardown_func = teardown, .initial_state = (void *)&(hook)                        \
	}

#endif
