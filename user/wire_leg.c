/* SPDX-License-Identifier: MIT */
#include "wire_leg.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "wire.h"

void wire_leg_put_host(uint32_t out[4], const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6) {
		memcpy(out, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr));
		return;
	}
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	out[3] = a->in.sin_addr.s_addr;
}

bool wire_leg_is_ipv6(const struct wire_tuple *leg)
{
	return leg->saddr[0] || leg->saddr[1] || leg->saddr[2] != htonl(0xffff);
}

static void put_addr(struct addr *out, bool is_ipv6, const uint32_t host[4], uint16_t port)
{
	*out = (struct addr){ 0 };
	if (is_ipv6) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = port;
		memcpy(&out->in6.sin6_addr, host, sizeof(out->in6.sin6_addr));
	} else {
		out->in.sin_family = AF_INET;
		out->in.sin_port = port;
		out->in.sin_addr.s_addr = host[3];
	}
}

void wire_leg_own(const struct wire_tuple *leg, struct addr *out)
{
	put_addr(out, wire_leg_is_ipv6(leg), leg->daddr, leg->dport);
}

void wire_leg_peer(const struct wire_tuple *leg, struct addr *out)
{
	put_addr(out, wire_leg_is_ipv6(leg), leg->saddr, leg->sport);
}

bool wire_leg_of(int fd, struct wire_tuple *leg)
{
	struct addr own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer), type_len = sizeof(int);
	int protocol;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &type_len) ||
	    protocol != IPPROTO_TCP || getsockname(fd, &own.sa, &own_len) ||
	    getpeername(fd, &peer.sa, &peer_len) || !addr_is_ip(&own) || !addr_is_ip(&peer))
		return false;
	*leg = (struct wire_tuple){ .sport = htons(addr_port(&peer)),
				    .dport = htons(addr_port(&own)) };
	wire_leg_put_host(leg->saddr, &peer);
	wire_leg_put_host(leg->daddr, &own);
	return true;
}

uint32_t wire_leg_mss(int fd, const struct wire_tuple *leg)
{
	size_t ip = wire_leg_is_ipv6(leg) ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
	uint32_t headers = (uint32_t)(ip + sizeof(struct tcphdr));
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) || info.tcpi_pmtu <= headers)
		return 0;
	return info.tcpi_pmtu - headers;
}
