/* SPDX-License-Identifier: MIT */
/*
 * TAP devices for the tests of the wire's TC program: what the kernel sends there is read, what is
 * written comes in there. Frames have a virtio header in front, as the parking device's have.
 */
#ifndef SHUNT_TEST_WIRE_TAP_H
#define SHUNT_TEST_WIRE_TAP_H

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "wire_frame.h"

#define TAP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
#define TAP_WAIT_MS 2000

struct tap {
	int fd;
	uint32_t ifindex;
	uint8_t mac[6];
};

/* In the current namespace, up and silent. offloads: TUN_F_*. */
static inline struct tap tap_open(const char *name, unsigned int offloads)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct tap t = { .fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK) };
	char command[256];

	assert_true(t.fd >= 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	assert_int_equal(ioctl(t.fd, TUNSETIFF, &r), 0);
	assert_int_equal(ioctl(t.fd, TUNSETOFFLOAD, offloads), 0);
	assert_int_equal(ioctl(t.fd, SIOCGIFHWADDR, &r), 0);
	memcpy(t.mac, r.ifr_hwaddr.sa_data, sizeof(t.mac));
	snprintf(command, sizeof(command),
		 "ip link set %s addrgenmode none && ip link set %s up arp off", name, name);
	assert_int_equal(system(command), 0);
	t.ifindex = if_nametoindex(name);
	assert_true(t.ifindex);
	return t;
}

static inline void tap_write(const struct tap *t, const struct virtio_net_hdr *h, struct frame *f)
{
	static uint8_t buf[sizeof(*h) + FRAME_MAX];

	memcpy(buf, h, sizeof(*h));
	memcpy(buf + sizeof(*h), f->b, f->n);
	assert_int_equal(write(t->fd, buf, sizeof(*h) + f->n), sizeof(*h) + f->n);
}

static inline bool is_tcp(const struct frame *f)
{
	return f->n >= ETH_BYTES + 40 &&
	       f->b[ETH_BYTES + (ip_bytes(f) == 20 ? 9 : 6)] == IPPROTO_TCP;
}

/* The next frame with TCP (the kernel has messages of its own to say), or false: none came within
 * the time. */
static inline bool tap_read(const struct tap *t, struct virtio_net_hdr *h, struct frame *f,
			    int wait_ms)
{
	static uint8_t buf[sizeof(*h) + FRAME_MAX];
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	ssize_t n;

	do {
		if (poll(&p, 1, wait_ms) != 1)
			return false;
		n = read(t->fd, buf, sizeof(buf));
		assert_true(n > (ssize_t)sizeof(*h));
		memcpy(h, buf, sizeof(*h));
		f->n = (size_t)n - sizeof(*h);
		memcpy(f->b, buf + sizeof(*h), f->n);
	} while (!is_tcp(f));
	return true;
}

#endif
