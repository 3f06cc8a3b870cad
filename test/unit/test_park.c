/* SPDX-License-Identifier: MIT */
/*
 * The parking device for real, in a network namespace of this process's own: what goes out by it is
 * kept and comes back as it was, in order, and nothing over its bounds. A packet socket stands for
 * the TC program: it sends by the device, and sees what is written back. Needs root and TUN/TAP;
 * without them every test is skipped, and says why.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "park.h"

#define NOW (1000 * NSEC_PER_SEC)
#define SEGMENT_MAX_BYTES 1400
#define GSO_BYTES 60000
#define WAIT_MS 2000

struct yard {
	struct park *park;
	int packets;
	atomic_bool is_held;
	atomic_uint overflows;
	struct wire_tuple overflowed; /* the last one */
};

static bool is_held(void *arg, const struct wire_tuple *leg)
{
	(void)leg;
	return atomic_load(&((struct yard *)arg)->is_held);
}

static void overflow(void *arg, const struct wire_tuple *leg)
{
	struct yard *y = arg;

	y->overflowed = *leg;
	atomic_fetch_add(&y->overflows, 1);
}

static int open_packet_socket(uint32_t ifindex)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)ifindex,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	int on = 1, bytes = 512 << 20;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void yard_open(struct yard *y)
{
	const struct park_conf conf = { is_held, overflow, y };
	char why[256] = "";

	*y = (struct yard){ .is_held = true };
	if (park_open(&conf, &y->park, why, sizeof(why)))
		fail_msg("%s", why);
	y->packets = open_packet_socket(park_ifindex(y->park));
}

static void yard_close(struct yard *y)
{
	close(y->packets);
	park_close(y->park);
}

/* --- frames ---------------------------------------------------------------------------------- */

struct frame {
	size_t len;
	uint8_t data[sizeof(struct virtio_net_hdr) + ETH_HLEN + 65535];
};

static struct wire_tuple tuple(bool is_ipv6, uint16_t port)
{
	struct wire_tuple t = { .sport = htons(port), .dport = htons(80) };

	t.saddr[0] = t.daddr[0] = is_ipv6 ? htonl(0x20010db8) : 0;
	t.saddr[2] = t.daddr[2] = is_ipv6 ? 0 : htonl(0xffff);
	t.saddr[3] = htonl(0x0a000001);
	t.daddr[3] = htonl(0x0a000002);
	return t;
}

static size_t put(struct frame *f, const void *data, size_t len)
{
	memcpy(f->data + f->len, data, len);
	f->len += len;
	return f->len;
}

/* A segment whose sequence number is `seq`; one that is longer than a packet can be is for the
 * device to cut. */
static void make_segment(struct frame *f, const struct wire_tuple *t, bool is_ipv6, uint32_t seq,
			 size_t payload)
{
	const size_t ip_bytes = is_ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
	const size_t headers = ETH_HLEN + ip_bytes + sizeof(struct tcphdr);
	struct virtio_net_hdr vnet = { 0 };
	struct ether_header eth = {
		.ether_dhost = { 2, 1, 1, 1, 1, 1 },
		.ether_shost = { 2, 'S', 1, 2, 3, 4 },
		.ether_type = htons(is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP),
	};
	struct iphdr ip4 = { .version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_TCP };
	struct ip6_hdr ip6 = { 0 };
	struct tcphdr tcp = { .doff = 5, .ack = 1, .source = t->sport, .dest = t->dport };

	if (payload > SEGMENT_MAX_BYTES) {
		vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet.gso_type = is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		vnet.gso_size = SEGMENT_MAX_BYTES;
		vnet.hdr_len = (uint16_t)headers;
		vnet.csum_start = (uint16_t)(ETH_HLEN + ip_bytes);
		vnet.csum_offset = offsetof(struct tcphdr, check);
	}
	ip4.tot_len = htons((uint16_t)(ip_bytes + sizeof(tcp) + payload));
	ip4.saddr = t->saddr[3];
	ip4.daddr = t->daddr[3];
	ip6.ip6_vfc = 6 << 4;
	ip6.ip6_nxt = IPPROTO_TCP;
	ip6.ip6_hlim = 9;
	ip6.ip6_plen = htons((uint16_t)(sizeof(tcp) + payload));
	memcpy(&ip6.ip6_src, t->saddr, sizeof(ip6.ip6_src));
	memcpy(&ip6.ip6_dst, t->daddr, sizeof(ip6.ip6_dst));
	tcp.seq = htonl(seq);
	f->len = 0;
	put(f, &vnet, sizeof(vnet));
	put(f, &eth, sizeof(eth));
	put(f, is_ipv6 ? (void *)&ip6 : (void *)&ip4, ip_bytes);
	put(f, &tcp, sizeof(tcp));
	for (size_t i = 0; i < payload; i++)
		f->data[f->len++] = (uint8_t)(seq + i * 7);
}

static uint32_t seq_of(const struct frame *f)
{
	const size_t at = sizeof(struct virtio_net_hdr) + ETH_HLEN + sizeof(struct iphdr);
	struct tcphdr tcp;

	memcpy(&tcp, f->data + at, sizeof(tcp));
	return ntohl(tcp.seq);
}

static void send_frame(struct yard *y, const struct frame *f)
{
	assert_int_equal(send(y->packets, f->data, f->len, 0), f->len);
}

/* What was written back next. False: nothing. */
static bool receive_frame(struct yard *y, struct frame *f)
{
	ssize_t n = recv(y->packets, f->data, sizeof(f->data), 0);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	f->len = (size_t)MAX(n, 0);
	return n > 0;
}

static void send_segment(struct yard *y, uint16_t port, uint32_t seq, size_t payload)
{
	const struct wire_tuple t = tuple(false, port);
	struct frame f;

	make_segment(&f, &t, false, seq, payload);
	send_frame(y, &f);
}

static void assert_all_is_returned(struct yard *y)
{
	struct park_figures n = park_figures(y->park);

	assert_int_equal(n.frames, 0);
	assert_int_equal(n.bytes, 0);
	assert_int_equal(n.lost, 0);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void a_frame_comes_back_as_it_was(void **state)
{
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (int k = 0; k < 4; k++) {
		const bool is_ipv6 = k & 1;
		const struct wire_tuple t = tuple(is_ipv6, (uint16_t)(1000 + k));
		struct pollfd p = { .fd = park_fd(y.park), .events = POLLIN };
		struct frame sent, got;

		make_segment(&sent, &t, is_ipv6, 1, k < 2 ? 100 : GSO_BYTES);
		assert_int_equal(poll(&p, 1, 0), 0);
		send_frame(&y, &sent);
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		park_read(y.park, NOW);
		assert_int_equal(park_figures(y.park).frames, 1);
		assert_false(receive_frame(&y, &got));
		park_return(y.park, &t);
		assert_true(receive_frame(&y, &got));
		/* Whole, and still to be cut and summed by who sends it on. */
		assert_int_equal(got.len, sent.len);
		assert_memory_equal(got.data, sent.data, sent.len);
		assert_false(receive_frame(&y, &got));
	}
	assert_int_equal(park_figures(y.park).parked, 4);
	assert_int_equal(park_figures(y.park).returned, 4);
	assert_all_is_returned(&y);
	yard_close(&y);
}

static void each_leg_has_its_own_frames_in_order(void **state)
{
	enum { LEGS = 50, FRAMES = 20 };
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (uint32_t seq = 0; seq < FRAMES; seq++) {
		for (uint16_t leg = 0; leg < LEGS; leg++)
			send_segment(&y, (uint16_t)(2000 + leg), seq, 10);
		park_read(y.park, NOW);
	}
	while (park_figures(y.park).parked < LEGS * FRAMES)
		park_read(y.park, NOW);
	for (uint16_t leg = LEGS; leg-- > 0;) {
		const struct wire_tuple t = tuple(false, (uint16_t)(2000 + leg));
		struct frame f, expected;

		park_return(y.park, &t);
		for (uint32_t seq = 0; seq < FRAMES; seq++) {
			make_segment(&expected, &t, false, seq, 10);
			assert_true(receive_frame(&y, &f));
			assert_memory_equal(f.data, expected.data, expected.len);
		}
		assert_false(receive_frame(&y, &f));
		park_return(y.park, &t); /* there is nothing any more */
	}
	assert_all_is_returned(&y);
	yard_close(&y);
}

/* Its hold was ended while it was in the device's queue: who ended it has been and gone. */
static void what_is_not_held_goes_back_at_once(void **state)
{
	struct frame f;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	send_segment(&y, 3000, 1, 10);
	park_read(y.park, NOW);
	atomic_store(&y.is_held, false);
	send_segment(&y, 3000, 2, 10);
	assert_false(receive_frame(&y, &f));
	park_read(y.park, NOW);
	assert_true(receive_frame(&y, &f)); /* the one that was kept before it */
	assert_int_equal(seq_of(&f), 1);
	assert_true(receive_frame(&y, &f));
	assert_int_equal(seq_of(&f), 2);
	assert_all_is_returned(&y);
	yard_close(&y);
}

static void a_leg_over_its_bound_is_given_up(void **state)
{
	const struct wire_tuple other = tuple(false, 4001), greedy = tuple(false, 4000);
	struct frame f;
	struct yard y;
	uint32_t n = 0;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	send_segment(&y, 4001, 1, 10);
	while (!y.overflows && n < 1000) {
		send_segment(&y, 4000, n++, GSO_BYTES);
		park_read(y.park, NOW);
		assert_in_range(park_figures(y.park).bytes, 0, PARK_LEG_MAX_BYTES + 1000);
	}
	assert_in_range((n - 1) * GSO_BYTES, PARK_LEG_MAX_BYTES * 9 / 10, PARK_LEG_MAX_BYTES);
	assert_memory_equal(&y.overflowed, &greedy, sizeof(greedy));
	for (uint32_t seq = 0; seq < n; seq++) {
		assert_true(receive_frame(&y, &f));
		assert_int_equal(seq_of(&f), seq);
	}
	assert_false(receive_frame(&y, &f));
	assert_int_equal(park_figures(y.park).frames, 1);
	assert_int_equal(park_figures(y.park).overflowed, 1);
	park_return(y.park, &other);
	assert_true(receive_frame(&y, &f));
	assert_all_is_returned(&y);
	yard_close(&y);
}

/* Many legs, each far below its own bound. */
static void all_legs_together_are_bounded(void **state)
{
	enum { BURST = 60, BURSTS_MAX = 10000 };
	struct park_figures n;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (uint32_t i = 0; i < BURST * BURSTS_MAX && !y.overflows; i++) {
		const struct wire_tuple t = tuple(true, (uint16_t)(i % 60000));
		struct frame f;

		make_segment(&f, &t, true, i, i & 1 ? 0 : GSO_BYTES);
		send_frame(&y, &f);
		if (i % BURST == BURST - 1)
			park_read(y.park, NOW);
	}
	n = park_figures(y.park);
	assert_true(y.overflows > 0);
	assert_in_range(n.bytes, PARK_MAX_BYTES / 2, PARK_MAX_BYTES);
	assert_int_equal(n.overflowed, y.overflows);
	assert_int_equal(n.lost, 0);
	yard_close(&y);
}

static void a_frame_does_not_wait_for_ever(void **state)
{
	const struct wire_tuple first = tuple(false, 5000);
	struct frame f;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	assert_true(park_expire(y.park, NOW) == UINT64_MAX);
	send_segment(&y, 5000, 1, 10);
	park_read(y.park, NOW);
	send_segment(&y, 5001, 2, 10);
	park_read(y.park, NOW + 5);
	send_segment(&y, 5000, 3, 10); /* its leg is as old as its first frame */
	park_read(y.park, NOW + 7);
	assert_int_equal(park_expire(y.park, NOW + PARK_MAX_NS - 1), NOW + PARK_MAX_NS);
	assert_int_equal(y.overflows, 0);
	assert_int_equal(park_expire(y.park, NOW + PARK_MAX_NS), NOW + PARK_MAX_NS + 5);
	assert_int_equal(y.overflows, 1);
	assert_memory_equal(&y.overflowed, &first, sizeof(first));
	assert_true(receive_frame(&y, &f) && seq_of(&f) == 1);
	assert_true(receive_frame(&y, &f) && seq_of(&f) == 3);
	assert_false(receive_frame(&y, &f));
	assert_true(park_expire(y.park, NOW + PARK_MAX_NS + 5) == UINT64_MAX);
	assert_true(receive_frame(&y, &f) && seq_of(&f) == 2);
	assert_int_equal(park_figures(y.park).expired, 2);
	assert_all_is_returned(&y);
	yard_close(&y);
}

static void expiring_many_takes_several_calls(void **state)
{
	enum { LEGS = 200 };
	unsigned int calls = 0;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (uint16_t i = 0; i < LEGS; i++)
		send_segment(&y, (uint16_t)(6000 + i), 1, 10);
	while (park_figures(y.park).parked < LEGS)
		park_read(y.park, NOW);
	while (park_expire(y.park, NOW + PARK_MAX_NS) != UINT64_MAX)
		calls++;
	assert_in_range(calls, 2, LEGS / 2);
	assert_int_equal(y.overflows, LEGS);
	assert_all_is_returned(&y);
	yard_close(&y);
}

/* What the host itself says by the device (it may), and what else is not for the program. */
static void other_frames_are_ignored(void **state)
{
	const struct wire_tuple t = tuple(false, 7000);
	const size_t ip_at = sizeof(struct virtio_net_hdr) + ETH_HLEN;
	struct frame f, got;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (int k = 0; k < 5; k++) {
		make_segment(&f, &t, k == 3, 1, 10);
		if (k == 0)
			f.data[ip_at + 9] = IPPROTO_UDP;
		if (k == 1)
			f.data[ip_at] = 0x46; /* a header with options */
		if (k == 2)
			f.data[ip_at - 1] = 0x06; /* ARP */
		if (k == 3)
			f.data[ip_at + 6] = IPPROTO_HOPOPTS;
		if (k == 4)
			f.len = ip_at + 30;
		send_frame(&y, &f);
	}
	park_read(y.park, NOW);
	assert_int_equal(park_figures(y.park).parked, 0);
	assert_false(receive_frame(&y, &got));
	/* But for these the device was silent, as nobody has to read what it says. */
	assert_int_equal(read(park_fd(y.park), f.data, sizeof(f.data)), -1);
	yard_close(&y);
}

static uint16_t checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void an_injected_segment_is_right(void **state)
{
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
		const size_t ip_bytes = is_ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
		const struct wire_tuple t = tuple(is_ipv6, 8000);
		struct frame got, expected;
		struct tcphdr tcp;
		uint8_t *ip;
		uint32_t sum;

		assert_int_equal(park_inject(y.park, &t, is_ipv6, 0xfffffff0, 77, TH_RST | TH_ACK),
				 0);
		assert_true(receive_frame(&y, &got));
		make_segment(&expected, &t, is_ipv6, 0, 0);
		assert_int_equal(got.len, expected.len);
		ip = got.data + sizeof(struct virtio_net_hdr) + ETH_HLEN;
		memcpy(&tcp, ip + ip_bytes, sizeof(tcp));
		assert_int_equal(ntohl(tcp.seq), 0xfffffff0);
		assert_int_equal(ntohl(tcp.ack_seq), 77);
		assert_int_equal(tcp.th_flags, TH_RST | TH_ACK);
		assert_int_equal(tcp.source, t.sport);
		assert_int_equal(tcp.dest, t.dport);
		if (!is_ipv6)
			assert_int_equal(checksum(ip, ip_bytes, 0), 0);
		/* The addresses are the last of the IP header, in both. */
		sum = IPPROTO_TCP + sizeof(tcp);
		sum += (uint16_t)~checksum(ip + (is_ipv6 ? 8 : 12), is_ipv6 ? 32 : 8, 0);
		assert_int_equal(checksum(&tcp, sizeof(tcp), sum), 0);
	}
	yard_close(&y);
}

/* --- threads --------------------------------------------------------------------------------- */

#define THREADS_MAX_NS (60 * NSEC_PER_SEC)

struct reader {
	pthread_t thread;
	struct park *park;
	atomic_bool stop;
};

static void *read_all_the_time(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop))
		park_read(r->park, NOW);
	return NULL;
}

/* Sends, has the leg held and not, and asks for its frames, all the time. The frames that came
 * back, in order; a wrong one ends it. */
static uint32_t send_and_return(struct yard *y, uint32_t frames, uint32_t window)
{
	const struct wire_tuple t = tuple(false, 9000);
	const uint64_t deadline_ns = clock_ns() + THREADS_MAX_NS;
	uint32_t sent = 0, received = 0;

	for (uint32_t turn = 0; received < frames && clock_ns() < deadline_ns; turn++) {
		struct frame f;

		if (sent < frames && sent - received < window)
			send_segment(y, 9000, sent++, 10);
		atomic_store(&y->is_held, turn % 100 < 50);
		if (turn % 10 == 0)
			park_return(y->park, &t);
		while (receive_frame(y, &f))
			if (seq_of(&f) != received++)
				return received - 1;
	}
	return received;
}

/* Two readers, and a third thread that asks for the frames: none is kept twice, lost, or overtaken
 * by a later one. */
static void threads_leave_no_frame_behind(void **state)
{
	enum { FRAMES = 20000, WINDOW = 500 };
	struct reader readers[2];
	uint32_t received;
	struct yard y;

	(void)state;
	SKIP_IF_REASON();
	yard_open(&y);
	for (int i = 0; i < 2; i++) {
		readers[i] = (struct reader){ .park = y.park };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all_the_time,
						&readers[i]),
				 0);
	}
	received = send_and_return(&y, FRAMES, WINDOW);
	for (int i = 0; i < 2; i++) {
		atomic_store(&readers[i].stop, true);
		pthread_join(readers[i].thread, NULL);
	}
	assert_int_equal(received, FRAMES);
	assert_all_is_returned(&y);
	assert_int_equal(park_figures(y.park).returned, FRAMES);
	assert_in_range(park_figures(y.park).parked, 1, FRAMES);
	yard_close(&y);
}

static void look_for_tap(void)
{
	struct yard y = { 0 };
	const struct park_conf conf = { is_held, overflow, &y };
	struct park *p = NULL;

	if (unshare(CLONE_NEWNET))
		snprintf(skip_reason, sizeof(skip_reason), "no network namespace: %s",
			 strerror(errno));
	else if (!park_open(&conf, &p, skip_reason, sizeof(skip_reason)))
		park_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_comes_back_as_it_was),
		cmocka_unit_test(each_leg_has_its_own_frames_in_order),
		cmocka_unit_test(what_is_not_held_goes_back_at_once),
		cmocka_unit_test(a_leg_over_its_bound_is_given_up),
		cmocka_unit_test(all_legs_together_are_bounded),
		cmocka_unit_test(a_frame_does_not_wait_for_ever),
		cmocka_unit_test(expiring_many_takes_several_calls),
		cmocka_unit_test(other_frames_are_ignored),
		cmocka_unit_test(an_injected_segment_is_right),
		cmocka_unit_test(threads_leave_no_frame_behind),
	};

	look_for_tap();
	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
