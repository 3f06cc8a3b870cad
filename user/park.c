/* SPDX-License-Identifier: MIT */
#include "park.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "list.h"
#include "log.h"

#define DEVICE_NAME "shunt%d"
#define DEVICE_QUEUE_FRAMES 4096
/* The largest that TCP segmentation offload makes, with its headers. */
#define FRAME_MAX_BYTES (sizeof(struct virtio_net_hdr) + ETH_HLEN + (64u << 10))
#define BUCKETS 4096 /* a power of two */
/* What one call does at most, so that a worker gets back to its other work. */
#define READ_MAX_FRAMES 64
#define EXPIRE_MAX_LEGS 64
#define INJECTED_TTL 64

struct frame {
	struct list in_leg;
	size_t len;
	uint8_t data[]; /* as it was read, the virtio header first */
};

/* The frames of a leg in the order in which they came; it exists while there are any. */
struct parked_leg {
	struct list in_bucket, in_age;
	struct list frames;
	struct wire_tuple tuple;
	uint64_t since_ns; /* when the first of its frames came */
	size_t bytes;
};

struct park {
	struct park_conf conf;
	int fd;
	uint32_t ifindex;
	uint64_t hash_seed; /* the peers choose the tuples, and must not choose the bucket */

	pthread_mutex_t mutex; /* all below */
	struct list buckets[BUCKETS];
	struct list by_age; /* of legs, the oldest first */
	struct park_figures figures;
	uint8_t buffer[FRAME_MAX_BYTES];
};

/* --- the device ------------------------------------------------------------------------------ */

static int make_tap(struct park *p, struct ifreq *ifr)
{
	const unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	p->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (p->fd < 0)
		return -errno;
	*ifr = (struct ifreq){
		.ifr_name = DEVICE_NAME,
		.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
	};
	return ioctl(p->fd, TUNSETIFF, ifr) || ioctl(p->fd, TUNSETOFFLOAD, offloads) ? -errno : 0;
}

/* It has no addresses, and says nothing by itself: not for good order only, each frame that it
 * sends has to be read. */
static void silence_ipv6(const char *device)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		log_debug("%s: %m", path);
	if (fd >= 0)
		close(fd);
}

static int bring_up(struct park *p, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFINDEX, ifr))
		rc = -errno;
	p->ifindex = (uint32_t)ifr->ifr_ifindex;
	ifr->ifr_qlen = DEVICE_QUEUE_FRAMES;
	if (!rc && ioctl(fd, SIOCSIFTXQLEN, ifr))
		rc = -errno;
	ifr->ifr_flags = IFF_UP | IFF_NOARP;
	if (!rc && ioctl(fd, SIOCSIFFLAGS, ifr))
		rc = -errno;
	close(fd);
	return rc;
}

static void explain(int rc, char *why, size_t size)
{
	if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
		snprintf(why, size, "there is no /dev/net/tun (the kernel's module \"tun\")");
	else if (rc == -EPERM || rc == -EACCES)
		snprintf(why, size, "a TAP device is not permitted: it needs CAP_NET_ADMIN");
	else
		snprintf(why, size, "no TAP device: %s", strerror(-rc));
}

int park_open(const struct park_conf *conf, struct park **out, char *why, size_t size)
{
	struct park *p = xcalloc(1, sizeof(*p));
	struct ifreq ifr;
	int rc;

	p->conf = *conf;
	p->fd = -1;
	p->hash_seed = rng_seed((uintptr_t)p);
	pthread_mutex_init(&p->mutex, NULL);
	list_init(&p->by_age);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&p->buckets[i]);
	rc = make_tap(p, &ifr);
	if (!rc) {
		silence_ipv6(ifr.ifr_name);
		rc = bring_up(p, &ifr);
	}
	if (rc) {
		explain(rc, why, size);
		park_close(p);
		return rc;
	}
	*out = p;
	return 0;
}

int park_fd(const struct park *p)
{
	return p->fd;
}

uint32_t park_ifindex(const struct park *p)
{
	return p->ifindex;
}

/* --- frames ---------------------------------------------------------------------------------- */

/* IPv4 as IPv4-mapped, as wire_abi.h wants it. */
static void map_ipv4(uint32_t out[4], uint32_t address)
{
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	out[3] = address;
}

/* The leg that a frame came in on. False: it is no TCP segment that the program would have sent. */
static bool tuple_of(const uint8_t *data, size_t len, struct wire_tuple *t)
{
	const size_t ip_at = sizeof(struct virtio_net_hdr) + ETH_HLEN;
	struct ether_header eth;
	struct ip6_hdr ip6;
	struct iphdr ip4;
	struct tcphdr tcp;
	size_t tcp_at;

	*t = (struct wire_tuple){ 0 };
	if (len < ip_at + sizeof(ip4) + sizeof(tcp))
		return false;
	memcpy(&eth, data + sizeof(struct virtio_net_hdr), sizeof(eth));
	if (eth.ether_type == htons(ETHERTYPE_IP)) {
		memcpy(&ip4, data + ip_at, sizeof(ip4));
		map_ipv4(t->saddr, ip4.saddr);
		map_ipv4(t->daddr, ip4.daddr);
		tcp_at = ip_at + sizeof(ip4);
		if (ip4.ihl != 5 || ip4.protocol != IPPROTO_TCP)
			return false;
	} else if (eth.ether_type == htons(ETHERTYPE_IPV6)) {
		memcpy(&ip6, data + ip_at, sizeof(ip6));
		memcpy(t->saddr, &ip6.ip6_src, sizeof(t->saddr));
		memcpy(t->daddr, &ip6.ip6_dst, sizeof(t->daddr));
		tcp_at = ip_at + sizeof(ip6);
		if (ip6.ip6_nxt != IPPROTO_TCP || len < tcp_at + sizeof(tcp))
			return false;
	} else {
		return false;
	}
	memcpy(&tcp, data + tcp_at, sizeof(tcp));
	t->sport = tcp.source;
	t->dport = tcp.dest;
	return true;
}

static struct list *bucket_of(struct park *p, const struct wire_tuple *t)
{
	const uint32_t words[] = { t->saddr[0], t->saddr[1], t->saddr[2],
				   t->saddr[3], t->daddr[0], t->daddr[1],
				   t->daddr[2], t->daddr[3], (uint32_t)t->sport << 16 | t->dport };
	uint64_t h = p->hash_seed;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return &p->buckets[h % BUCKETS];
}

static struct parked_leg *find(struct park *p, const struct wire_tuple *t)
{
	struct list *bucket = bucket_of(p, t);

	list_for_each(e, bucket) {
		struct parked_leg *leg = list_entry(e, struct parked_leg, in_bucket);

		if (!memcmp(&leg->tuple, t, sizeof(*t)))
			return leg;
	}
	return NULL;
}

/* What a frame costs here, so that a bound holds for small ones, too. */
static size_t cost_of(const struct frame *f)
{
	return sizeof(*f) + f->len;
}

/* The whole frame or nothing: a device takes no parts. What it does not take (it was set down,
 * memory is out) is as if the network had lost it. */
static void write_back(struct park *p, const void *data, size_t len)
{
	if (write(p->fd, data, len) < 0)
		p->figures.lost++;
	else
		p->figures.returned++;
}

/* Under the mutex, so that what comes later is not written before. */
static void return_leg(struct park *p, struct parked_leg *leg)
{
	list_for_each_safe(e, &leg->frames) {
		struct frame *f = list_entry(e, struct frame, in_leg);

		write_back(p, f->data, f->len);
		p->figures.frames--;
		p->figures.bytes -= cost_of(f);
		free(f);
	}
	list_del(&leg->in_bucket);
	list_del(&leg->in_age);
	free(leg);
}

static struct parked_leg *new_leg(struct park *p, const struct wire_tuple *t, uint64_t now_ns)
{
	struct parked_leg *leg = malloc(sizeof(*leg));

	if (!leg)
		return NULL;
	*leg = (struct parked_leg){ .tuple = *t, .since_ns = now_ns };
	list_init(&leg->frames);
	list_append(bucket_of(p, t), &leg->in_bucket);
	list_append(&p->by_age, &leg->in_age);
	return leg;
}

/* Keeps what is in the buffer. False: its leg is over a bound now. */
static bool keep(struct park *p, const struct wire_tuple *t, size_t len, uint64_t now_ns)
{
	struct frame *f = malloc(sizeof(*f) + len);
	struct parked_leg *leg = f ? find(p, t) : NULL;

	if (f && !leg)
		leg = new_leg(p, t, now_ns);
	if (!leg) {
		p->figures.lost++;
		free(f);
		return true;
	}
	f->len = len;
	memcpy(f->data, p->buffer, len);
	list_append(&leg->frames, &f->in_leg);
	leg->bytes += cost_of(f);
	p->figures.parked++;
	p->figures.frames++;
	p->figures.bytes += cost_of(f);
	return leg->bytes <= PARK_LEG_MAX_BYTES && p->figures.bytes <= PARK_MAX_BYTES;
}

/* --- reading and returning ------------------------------------------------------------------- */

static void give_up(struct park *p, const struct wire_tuple *t)
{
	p->conf.overflow(p->conf.arg, t);
	park_return(p, t);
}

/* One frame, under the mutex. False: there is none. *over: its leg, *t, is over a bound now. */
static bool read_frame(struct park *p, uint64_t now_ns, struct wire_tuple *t, bool *over)
{
	ssize_t n = read(p->fd, p->buffer, sizeof(p->buffer));

	*over = false;
	if (n <= 0)
		return false;
	if (!tuple_of(p->buffer, (size_t)n, t))
		return true;
	if (p->conf.is_held(p->conf.arg, t)) {
		*over = !keep(p, t, (size_t)n, now_ns);
		if (*over)
			p->figures.overflowed++;
	} else {
		struct parked_leg *leg = find(p, t);

		/* Its hold has gone while frames waited, and nobody has asked for them yet. */
		if (leg)
			return_leg(p, leg);
		write_back(p, p->buffer, (size_t)n);
	}
	return true;
}

void park_read(struct park *p, uint64_t now_ns)
{
	bool more = true, over;

	for (int i = 0; more && i < READ_MAX_FRAMES; i++) {
		struct wire_tuple t;

		pthread_mutex_lock(&p->mutex);
		more = read_frame(p, now_ns, &t, &over);
		pthread_mutex_unlock(&p->mutex);
		if (over)
			give_up(p, &t);
	}
}

void park_return(struct park *p, const struct wire_tuple *leg)
{
	struct parked_leg *parked;

	pthread_mutex_lock(&p->mutex);
	parked = find(p, leg);
	if (parked)
		return_leg(p, parked);
	pthread_mutex_unlock(&p->mutex);
}

/* The leg that has waited for too long. False: there is none; *next_ns is when there may be one. */
static bool find_expired(struct park *p, uint64_t now_ns, struct wire_tuple *t, uint64_t *next_ns)
{
	const struct parked_leg *oldest;
	bool is_expired = false;

	*next_ns = UINT64_MAX;
	pthread_mutex_lock(&p->mutex);
	if (!list_empty(&p->by_age)) {
		oldest = list_entry(p->by_age.next, struct parked_leg, in_age);
		*next_ns = oldest->since_ns + PARK_MAX_NS;
		is_expired = *next_ns <= now_ns;
		*t = oldest->tuple;
	}
	p->figures.expired += is_expired;
	pthread_mutex_unlock(&p->mutex);
	return is_expired;
}

uint64_t park_expire(struct park *p, uint64_t now_ns)
{
	struct wire_tuple t;
	uint64_t next_ns;

	for (int i = 0; i < EXPIRE_MAX_LEGS; i++) {
		if (!find_expired(p, now_ns, &t, &next_ns))
			return next_ns;
		give_up(p, &t);
	}
	return now_ns;
}

struct park_figures park_figures(struct park *p)
{
	struct park_figures f;

	pthread_mutex_lock(&p->mutex);
	f = p->figures;
	pthread_mutex_unlock(&p->mutex);
	return f;
}

void park_close(struct park *p)
{
	if (!p)
		return;
	/* Nothing is written any more: what is parked is gone with the device. */
	if (p->fd >= 0)
		close(p->fd);
	list_for_each_safe(e, &p->by_age) {
		struct parked_leg *leg = list_entry(e, struct parked_leg, in_age);

		list_for_each_safe(f, &leg->frames)
			free(list_entry(f, struct frame, in_leg));
		free(leg);
	}
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

/* --- segments of our own --------------------------------------------------------------------- */

/* RFC 1071's sum of 16-bit words, not yet folded; of an even number of bytes. */
static uint32_t sum_words(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 2) {
		uint16_t word;

		memcpy(&word, p + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t put_ip_header(uint8_t *at, const struct wire_tuple *leg, bool is_ipv6)
{
	struct ip6_hdr ip6 = { 0 };
	struct iphdr ip4 = { .version = 4,
			     .ihl = 5,
			     .tot_len = htons(sizeof(ip4) + sizeof(struct tcphdr)),
			     .frag_off = htons(IP_DF),
			     .ttl = INJECTED_TTL,
			     .protocol = IPPROTO_TCP,
			     .saddr = leg->saddr[3],
			     .daddr = leg->daddr[3] };

	if (!is_ipv6) {
		ip4.check = fold(sum_words(&ip4, sizeof(ip4), 0));
		memcpy(at, &ip4, sizeof(ip4));
		return sizeof(ip4);
	}
	ip6.ip6_vfc = 6 << 4;
	ip6.ip6_plen = htons(sizeof(struct tcphdr));
	ip6.ip6_nxt = IPPROTO_TCP;
	ip6.ip6_hlim = INJECTED_TTL;
	memcpy(&ip6.ip6_src, leg->saddr, sizeof(ip6.ip6_src));
	memcpy(&ip6.ip6_dst, leg->daddr, sizeof(ip6.ip6_dst));
	memcpy(at, &ip6, sizeof(ip6));
	return sizeof(ip6);
}

int park_inject(struct park *p, const struct wire_tuple *leg, bool is_ipv6, uint32_t seq,
		uint32_t ack, uint8_t tcp_flags)
{
	/* Zero for the virtio header: nothing is offloaded; and for the MACs, which the program
	 * replaces. */
	uint8_t frame[sizeof(struct virtio_net_hdr) + ETH_HLEN + sizeof(struct ip6_hdr) +
		      sizeof(struct tcphdr)] = { 0 };
	size_t at = sizeof(struct virtio_net_hdr) + ETH_HLEN;
	const uint16_t type = htons(is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	struct tcphdr tcp = {
		.source = leg->sport,
		.dest = leg->dport,
		.seq = htonl(seq),
		.ack_seq = htonl(ack),
		.doff = sizeof(tcp) / 4,
	};
	uint32_t sum;

	tcp.th_flags = tcp_flags;
	/* The pseudo-header. The zeros before a mapped IPv4 address add nothing, its ffff is the
	 * zero of this arithmetic. */
	sum = sum_words(leg->saddr, sizeof(leg->saddr), 0);
	sum = sum_words(leg->daddr, sizeof(leg->daddr), sum);
	sum += htons(IPPROTO_TCP) + (uint32_t)htons(sizeof(tcp));
	tcp.check = fold(sum_words(&tcp, sizeof(tcp), sum));
	memcpy(frame + at - sizeof(type), &type, sizeof(type));
	at += put_ip_header(frame + at, leg, is_ipv6);
	memcpy(frame + at, &tcp, sizeof(tcp));
	return write(p->fd, frame, at + sizeof(tcp)) < 0 ? -errno : 0;
}
