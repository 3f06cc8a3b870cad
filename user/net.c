/* SPDX-License-Identifier: MIT */
#include "net.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

int net_set_keepalive(int fd, uint32_t keepalive_ms)
{
	int idle_s = (int)((keepalive_ms + 999) / 1000);
	int rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive_ms > 0);

	if (rc || !keepalive_ms)
		return rc;
	rc = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
	if (!rc)
		rc = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, NET_KEEPALIVE_INTERVAL_S);
	if (!rc)
		rc = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, NET_KEEPALIVE_PROBES);
	return rc;
}

/*
 * The options of both legs. A listener's are inherited by what it accepts, which saves the calls
 * for each connection. SO_OOBINLINE: without it recv() would skip an urgent byte, and a byte would
 * be lost.
 */
static int set_stream_options(int fd)
{
	int rc = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);

	if (!rc)
		rc = set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	return rc;
}

static int new_socket(const struct addr *a)
{
	int protocol = addr_is_ip(a) ? IPPROTO_TCP : 0;
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

int net_bind(const struct addr *a, uint32_t keepalive_ms, bool shared)
{
	int fd = new_socket(a), rc;

	if (fd < 0)
		return fd;
	rc = set_stream_options(fd);
	if (!rc && keepalive_ms)
		rc = net_set_keepalive(fd, keepalive_ms);
	if (!rc && a->sa.sa_family == AF_INET6)
		rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (!rc)
		rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!rc && shared)
		rc = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!rc && bind(fd, &a->sa, addr_len(a)))
		rc = -errno;
	if (!rc && !shared)
		rc = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int net_listen(int fd, uint32_t backlog)
{
	return listen(fd, (int)backlog) ? -errno : 0;
}

int net_accept(int listener, struct addr *peer)
{
	socklen_t len = sizeof(*peer);
	int fd = accept4(listener, &peer->sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 && peer->sa.sa_family == AF_UNIX)
		*peer = addr_of_unix("");
	return fd < 0 ? -errno : fd;
}

int net_open(const struct addr *a)
{
	int fd = new_socket(a), rc;

	if (fd < 0)
		return fd;
	rc = addr_is_ip(a) ? set_stream_options(fd) : 0;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static int set_transparent(int fd, sa_family_t family)
{
	if (family == AF_INET6)
		return set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	return set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

/* IP_BIND_ADDRESS_NO_PORT: the port is chosen when the destination is known, so that each source
 * has all of its ports for each destination. */
int net_bind_source(int fd, const struct addr *a, bool transparent)
{
	int rc = transparent ? set_transparent(fd, a->sa.sa_family) : 0;

	if (!rc)
		rc = set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (!rc && bind(fd, &a->sa, addr_len(a)))
		rc = -errno;
	return rc;
}

int net_try_transparent(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), rc;

	if (fd < 0)
		return -errno;
	rc = set_transparent(fd, AF_INET);
	close(fd);
	return rc;
}

socklen_t net_unix_address(const char *path, struct sockaddr_un *out)
{
	size_t len = MIN(strlen(path), ADDR_UNIX_PATH_MAX);

	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(out->sun_path, path, len);
	if (path[0] != '@')
		return sizeof(*out);
	out->sun_path[0] = '\0'; /* an abstract name ends where the address does */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int net_set_quick_ack(int fd, bool on)
{
	return set_option(fd, IPPROTO_TCP, TCP_QUICKACK, on);
}

static int start_unix(int fd, const char *path)
{
	struct sockaddr_un to;
	socklen_t len = net_unix_address(path, &to);

	if (!connect(fd, (const struct sockaddr *)&to, len))
		return 0;
	return errno == EAGAIN ? -EBUSY : -errno;
}

int net_start(int fd, const struct addr *a)
{
	if (a->sa.sa_family == AF_UNIX)
		return start_unix(fd, a->un.path);
	return connect(fd, &a->sa, addr_len(a)) && errno != EINPROGRESS ? -errno : 0;
}

int net_connect(const struct addr *a)
{
	int fd = net_open(a), rc;

	if (fd < 0)
		return fd;
	rc = net_start(fd, a);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int net_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) ? errno : error;
}

bool net_is_shortage(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case ENOSPC:        /* epoll's limit of watches */
	case EADDRNOTAVAIL: /* no local port is left for this destination */
	case EAGAIN:        /* the same, from the routing cache */
		return true;
	default:
		return false;
	}
}

void net_reset(int fd)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	/* It cannot fail on a socket; and if it did, a FIN would be all that is left to send. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static int raise_loopback(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCSIFFLAGS, &lo))
		rc = -errno;
	close(fd);
	return rc;
}

int net_unshare(void)
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), rc = 0;

	if (home < 0)
		return -errno;
	if (unshare(CLONE_NEWNET))
		rc = -errno;
	else
		rc = raise_loopback();
	if (rc)
		(void)!setns(home, CLONE_NEWNET); /* it has just been there */
	close(home);
	return rc;
}

uint64_t net_raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		rlim_t soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			limit.rlim_cur = soft;
	}
	return limit.rlim_cur;
}
