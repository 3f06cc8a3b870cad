/* SPDX-License-Identifier: MIT */
/*
 * Frames for the tests of the wire's TC program: a segment as a struct, made into an Ethernet frame
 * with right checksums, and taken apart again, with every length and checksum looked at. IPv4 and
 * IPv6 by the tuple's addresses. The payload is a pattern, so that a changed byte is seen.
 */
#ifndef SHUNT_TEST_WIRE_FRAME_H
#define SHUNT_TEST_WIRE_FRAME_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire_abi.h"

#define FRAME_MAX 70000
#define ETH_BYTES 14
#define TCP_BYTES 20
#define OPTIONS_MAX 40
/* Of all IPv6 packets that are made here. */
#define FLOW_LABEL 0x12345

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define URG 0x20

struct frame {
	size_t n;
	uint8_t b[FRAME_MAX];
};

struct segment {
	struct wire_tuple t; /* who it is from, and to whom */
	uint32_t seq, ack;
	uint16_t window, urgent;
	uint8_t flags;
	uint8_t traffic_class, ttl; /* TTL 0: 64 */
	uint32_t flow_label;        /* as it was read, of IPv6 */
	uint8_t n_options, options[OPTIONS_MAX];
	size_t payload;
};

static inline void put16(uint8_t *b, uint16_t v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static inline void put32(uint8_t *b, uint32_t v)
{
	put16(b, (uint16_t)(v >> 16));
	put16(b + 2, (uint16_t)v);
}

static inline uint16_t read16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t read32(const uint8_t *b)
{
	return (uint32_t)read16(b) << 16 | read16(b + 2);
}

/* RFC 1071; not folded, so that sums can be added. */
static inline uint32_t sum_bytes(const uint8_t *b, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += read16(b + i);
	return sum + (n & 1 ? (uint32_t)b[n - 1] << 8 : 0);
}

static inline uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline bool is_v4(const struct wire_tuple *t)
{
	return !t->saddr[0] && !t->saddr[1] && t->saddr[2] == htonl(0xffff);
}

static inline struct wire_tuple tuple(const char *from, uint16_t sport, const char *to,
				      uint16_t dport)
{
	struct wire_tuple t = { .sport = htons(sport), .dport = htons(dport) };

	if (!inet_pton(AF_INET6, from, t.saddr) || !inet_pton(AF_INET6, to, t.daddr))
		fail();
	return t;
}

static inline struct wire_tuple reversed(const struct wire_tuple *t)
{
	struct wire_tuple r = { .sport = t->dport, .dport = t->sport };

	memcpy(r.saddr, t->daddr, sizeof(r.saddr));
	memcpy(r.daddr, t->saddr, sizeof(r.daddr));
	return r;
}

static inline size_t ip_bytes(const struct frame *f)
{
	return f->b[12] == 0x08 ? 20 : 40;
}

static inline uint8_t *frame_ip(struct frame *f)
{
	return f->b + ETH_BYTES;
}

static inline uint8_t *frame_tcp(struct frame *f)
{
	return f->b + ETH_BYTES + ip_bytes(f);
}

/* What the IP header says to follow it. */
static inline size_t frame_l4_bytes(const struct frame *f)
{
	const uint8_t *ip = f->b + ETH_BYTES;

	return ip_bytes(f) == 20 ? (size_t)read16(ip + 2) - 20 : read16(ip + 4);
}

static inline uint32_t pseudo_header(struct frame *f)
{
	const uint8_t *ip = frame_ip(f);
	uint32_t sum = (uint32_t)frame_l4_bytes(f);

	return ip_bytes(f) == 20 ? sum + ip[9] + sum_bytes(ip + 12, 8)
				 : sum + ip[6] + sum_bytes(ip + 8, 32);
}

/* Of a header with or without its checksum in it: 0xffff is right, and 0 to be inverted. */
static inline uint16_t tcp_sum(struct frame *f)
{
	return fold(pseudo_header(f) + fold(sum_bytes(frame_tcp(f), frame_l4_bytes(f))));
}

static inline uint16_t ipv4_sum(struct frame *f)
{
	return fold(sum_bytes(frame_ip(f), 20));
}

static inline void frame_set_checksums(struct frame *f)
{
	put16(frame_tcp(f) + 16, 0);
	put16(frame_tcp(f) + 16, (uint16_t)~tcp_sum(f));
	if (ip_bytes(f) == 20) {
		put16(frame_ip(f) + 10, 0);
		put16(frame_ip(f) + 10, (uint16_t)~ipv4_sum(f));
	}
}

static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static inline void frame_put_ip(struct frame *f, const struct segment *s, size_t l4_bytes)
{
	uint8_t *ip = f->b + ETH_BYTES, ttl = s->ttl ? s->ttl : 64;

	if (is_v4(&s->t)) {
		put16(f->b + 12, 0x0800);
		ip[0] = 0x45;
		ip[1] = s->traffic_class;
		put16(ip + 2, (uint16_t)(20 + l4_bytes));
		put16(ip + 4, 4711);
		ip[6] = 0x40; /* don't fragment */
		ip[8] = ttl;
		ip[9] = IPPROTO_TCP;
		memcpy(ip + 12, &s->t.saddr[3], 4);
		memcpy(ip + 16, &s->t.daddr[3], 4);
		return;
	}
	put16(f->b + 12, 0x86dd);
	put32(ip, 6u << 28 | (uint32_t)s->traffic_class << 20 | FLOW_LABEL);
	put16(ip + 4, (uint16_t)l4_bytes);
	ip[6] = IPPROTO_TCP;
	ip[7] = ttl;
	memcpy(ip + 8, s->t.saddr, 16);
	memcpy(ip + 24, s->t.daddr, 16);
}

/* To the MAC address of zeros, which is the loopback device's. Options are padded to a word with
 * ends of list. */
static inline void frame_make(struct frame *f, const struct segment *s)
{
	size_t header = TCP_BYTES + (s->n_options + 3u) / 4 * 4;
	uint8_t *tcp;

	memset(f->b, 0, ETH_BYTES + 40 + 60);
	f->b[6] = 2;
	frame_put_ip(f, s, header + s->payload);
	tcp = frame_tcp(f);
	memcpy(tcp, &s->t.sport, 2);
	memcpy(tcp + 2, &s->t.dport, 2);
	put32(tcp + 4, s->seq);
	put32(tcp + 8, s->ack);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = s->flags;
	put16(tcp + 14, s->window);
	put16(tcp + 18, s->urgent);
	memcpy(tcp + TCP_BYTES, s->options, s->n_options);
	for (size_t i = 0; i < s->payload; i++)
		tcp[header + i] = pattern(i);
	f->n = ETH_BYTES + ip_bytes(f) + header + s->payload;
	frame_set_checksums(f);
}

/* Every length and checksum has to be right. */
static inline void frame_read(struct frame *f, struct segment *s)
{
	const uint8_t *ip = frame_ip(f), *tcp = frame_tcp(f);
	size_t header = (size_t)(tcp[12] >> 4) * 4;

	*s = (struct segment){ 0 };
	assert_int_equal(tcp_sum(f), 0xffff);
	if (ip_bytes(f) == 20) {
		assert_int_equal(ip[0], 0x45);
		assert_int_equal(ipv4_sum(f), 0xffff);
		s->t.saddr[2] = s->t.daddr[2] = htonl(0xffff);
		memcpy(&s->t.saddr[3], ip + 12, 4);
		memcpy(&s->t.daddr[3], ip + 16, 4);
		s->traffic_class = ip[1];
		s->ttl = ip[8];
	} else {
		assert_int_equal(ip[0] >> 4, 6);
		s->flow_label = read32(ip) & 0xfffff;
		memcpy(s->t.saddr, ip + 8, 16);
		memcpy(s->t.daddr, ip + 24, 16);
		s->traffic_class = (uint8_t)(read32(ip) >> 20);
		s->ttl = ip[7];
	}
	memcpy(&s->t.sport, tcp, 2);
	memcpy(&s->t.dport, tcp + 2, 2);
	s->seq = read32(tcp + 4);
	s->ack = read32(tcp + 8);
	s->flags = tcp[13];
	s->window = read16(tcp + 14);
	s->urgent = read16(tcp + 18);
	assert_true(header >= TCP_BYTES && header <= frame_l4_bytes(f));
	s->n_options = (uint8_t)(header - TCP_BYTES);
	memcpy(s->options, tcp + TCP_BYTES, s->n_options);
	s->payload = frame_l4_bytes(f) - header;
	assert_true(f->n >= ETH_BYTES + ip_bytes(f) + frame_l4_bytes(f));
	for (size_t i = 0; i < s->payload; i++)
		assert_int_equal(tcp[header + i], pattern(i));
}

#endif
