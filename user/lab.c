/* SPDX-License-Identifier: MIT */
#include "lab.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MAX_MS 3000
#define PORT_MAX_MS 10000
#define POLL_MS 10
#define COMMAND_MAX_CHARS 256
#define COMMAND_MAX_WORDS 32

/* The congestion control is chosen by route: a namespace may only choose by sysctl what the host
 * lets everybody use. */
#define CUBIC "congctl cubic"

static int tell(const char *what, int error)
{
	fprintf(stderr, "shunt bench: %s: %s\n", what, strerror(error));
	return -error;
}

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* --- processes ------------------------------------------------------------------------------- */

static bool mount_own(const char *type, const char *at)
{
	return !mount("shunt-bench", at, type, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int hide_run_folders(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    !mount_own("tmpfs", "/run"))
		return tell("can't make a private /run", errno);
	/* Without BPF in the kernel there is none to hide. */
	if (!mount_own("bpf", "/sys/fs/bpf") && errno != ENODEV && errno != ENOENT)
		return tell("can't make a private /sys/fs/bpf", errno);
	return 0;
}

/* In the child: dies with the parent, also with one that has been faster. */
static void follow_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
}

pid_t lab_fork(const struct lab *l, enum lab_place place, bool hide_run)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return tell("fork", errno);
	if (pid)
		return pid;
	follow_parent(parent);
	if (setns(l->netns[place], CLONE_NEWNET)) {
		tell("setns", errno);
		_exit(EXIT_FAILURE);
	}
	if (hide_run && hide_run_folders())
		_exit(EXIT_FAILURE);
	return 0;
}

int lab_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

bool lab_has_ended(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) != 0;
}

void lab_stop(pid_t pid, int signal_number)
{
	if (pid <= 0)
		return;
	kill(pid, signal_number);
	for (unsigned int ms = 0; ms < STOP_MAX_MS; ms += POLL_MS) {
		if (lab_has_ended(pid))
			return;
		sleep_ms(POLL_MS);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- the network ----------------------------------------------------------------------------- */

/* Runs ip(8) in a place; its arguments are parted by blanks. */
static int __attribute__((format(printf, 3, 4)))
ip(const struct lab *l, enum lab_place place, const char *fmt, ...)
{
	char text[COMMAND_MAX_CHARS], words[COMMAND_MAX_CHARS], *save = NULL;
	char *argv[COMMAND_MAX_WORDS] = { "ip" };
	va_list args;
	pid_t pid;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(words, text, sizeof(words));
	for (size_t i = 1; i < COMMAND_MAX_WORDS - 1; i++) {
		argv[i] = strtok_r(i == 1 ? words : NULL, " ", &save);
		if (!argv[i])
			break;
	}
	pid = lab_fork(l, place, false);
	if (pid < 0)
		return pid;
	if (!pid) {
		execvp("ip", argv);
		tell("can't run ip (iproute2)", errno);
		_exit(EXIT_FAILURE);
	}
	if (!lab_wait(pid))
		return 0;
	fprintf(stderr, "shunt bench: failed, for the reason given above: ip %s\n", text);
	return -EIO;
}

/* Of the calling process's namespace. */
static int set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		rc = tell(path, errno);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int set_sysctls(void)
{
	static const char *const settings[][2] = {
		{ "/proc/sys/net/ipv4/ip_forward", "1" },
		/* Churn leaves tens of thousands of connections in TIME_WAIT. */
		{ "/proc/sys/net/ipv4/ip_local_port_range", "8192 65535" },
		{ "/proc/sys/net/ipv4/tcp_tw_reuse", "1" },
		{ "/proc/sys/net/core/somaxconn", "4096" },
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(settings); i++)
		rc = set_sysctl(settings[i][0], settings[i][1]);
	return rc;
}

static int make_netns(struct lab *l, enum lab_place place, int home)
{
	int rc;

	if (unshare(CLONE_NEWNET))
		return tell("can't make a network namespace", errno);
	l->netns[place] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	rc = l->netns[place] < 0 ? tell("/proc/self/ns/net", errno) : set_sysctls();
	if (setns(home, CLONE_NEWNET))
		return tell("setns", errno);
	return rc;
}

/* A device named after who is at its other end; both ends get an address in 10.231.SUBNET.0/24. */
static int link_places(const struct lab *l, enum lab_place from, unsigned int from_host,
		       enum lab_place to, unsigned int to_host, unsigned int subnet)
{
	static const char *const names[N_LAB_PLACES] = { "client", "proxy", "backend" };
	enum lab_place at[2] = { from, to };
	unsigned int host[2] = { from_host, to_host };
	int rc = ip(l, from, "link add %s type veth peer name %s netns /proc/%d/fd/%d", names[to],
		    names[from], (int)getpid(), l->netns[to]);

	for (int i = 0; !rc && i < 2; i++) {
		const char *device = names[at[!i]];

		rc = ip(l, at[i], "address add 10.231.%u.%u/24 dev %s", subnet, host[i], device);
		if (!rc)
			rc = ip(l, at[i], "link set %s up", device);
		if (!rc)
			rc = ip(l, at[i], "route replace 10.231.%u.0/24 dev %s " CUBIC, subnet,
				device);
	}
	return rc;
}

static int make_links(const struct lab *l, unsigned int n_backend_ips)
{
	int rc = 0;

	for (int i = 0; !rc && i < N_LAB_PLACES; i++)
		rc = ip(l, (enum lab_place)i, "link set lo up");
	if (!rc)
		rc = link_places(l, LAB_CLIENT, 2, LAB_PROXY, 1, 1);
	if (!rc)
		rc = link_places(l, LAB_PROXY, 1, LAB_BACKEND, LAB_BACKEND_IP_FIRST, 2);
	for (unsigned int i = 1; !rc && i < n_backend_ips; i++)
		rc = ip(l, LAB_BACKEND, "address add " LAB_BACKEND_IP_FORMAT "/24 dev proxy",
			LAB_BACKEND_IP_FIRST + i);
	if (!rc)
		rc = ip(l, LAB_CLIENT, "route add default via 10.231.1.1 " CUBIC);
	if (!rc)
		rc = ip(l, LAB_BACKEND, "route add default via 10.231.2.1 " CUBIC);
	return rc;
}

int lab_open(struct lab *l, unsigned int n_backend_ips)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), rc = 0;

	for (int i = 0; i < N_LAB_PLACES; i++)
		l->netns[i] = -1;
	if (home < 0)
		return tell("/proc/self/ns/net", errno);
	for (int i = 0; !rc && i < N_LAB_PLACES; i++)
		rc = make_netns(l, (enum lab_place)i, home);
	close(home);
	return rc ? rc : make_links(l, n_backend_ips);
}

void lab_close(struct lab *l)
{
	for (int i = 0; i < N_LAB_PLACES; i++) {
		if (l->netns[i] >= 0)
			close(l->netns[i]);
		l->netns[i] = -1;
	}
}

/* --- readiness ------------------------------------------------------------------------------- */

static bool answers(int fd)
{
	char byte = 0;

	return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1;
}

/* In a child of its own: tries until it is connected and, if need be, answered; or killed. */
static void connect_until_done(const struct addr *at, bool echoes)
{
	for (;;) {
		int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			_exit(EXIT_FAILURE);
		if (!connect(fd, &at->sa, addr_len(at)) && (!echoes || answers(fd)))
			_exit(EXIT_SUCCESS);
		close(fd);
		sleep_ms(POLL_MS);
	}
}

int lab_wait_for_port(const struct lab *l, enum lab_place place, const struct addr *at, bool echoes,
		      pid_t pid)
{
	pid_t child = lab_fork(l, place, false);

	if (child < 0)
		return child;
	if (!child)
		connect_until_done(at, echoes);
	for (unsigned int ms = 0; ms < PORT_MAX_MS; ms += POLL_MS) {
		siginfo_t info = { .si_pid = 0 };
		int status;

		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
		/* Looked at only: who started it will want to know, too. */
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			break;
		sleep_ms(POLL_MS);
	}
	lab_stop(child, SIGKILL);
	return -ETIMEDOUT;
}
