/* SPDX-License-Identifier: MIT */
/*
 * The local bypass and ends that have ended their sending and still receive: a program that waits
 * in a blocking recv(2) then must not be woken for nothing, and no byte that is on its way to it
 * may be lost. Needs the right to load BPF programs; without it every test is skipped, and says
 * why.
 */
#include "bypass_bench.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ROUNDS 400
#define ROUND_BYTES 65536u
#define HUNG_NS (20 * NSEC_PER_SEC)

static void blocking_recv_waits_after_shutdown(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int first = 0; first < 2; first++) {
		bench_open(&b, MIB, AF_INET);
		expect_around(&b, first, 1000);
		expect_around(&b, !first, 1000);
		receive_rest(&b, 0);
		receive_rest(&b, 1);
		shut_and_wait(&b, first);
		bench_close(&b);
	}
}

/* --- while the other end sends ---------------------------------------------------------------- */

struct sender {
	int fd, stream;
	size_t sent; /* read when its thread has ended */
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	uint8_t chunk[512];

	while (s->sent < ROUND_BYTES) {
		ssize_t n;

		for (size_t k = 0; k < sizeof(chunk); k++)
			chunk[k] = byte_at(s->stream, s->sent + k);
		n = send(s->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		s->sent += (size_t)MAX(n, 0);
	}
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

/* The receiver ends its sending at any moment of it; whatever way the bytes take, all arrive. */
static void bytes_under_way_survive_shutdown(void **state)
{
	uint64_t n[N_BYPASS_COUNTERS];
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	for (int round = 0; round < ROUNDS; round++) {
		int to = round & 1;
		struct sender s = { .fd = b.trial.outer[!to], .stream = !to };
		size_t shut_at = rng_below(&b.rng, ROUND_BYTES);
		uint64_t deadline_ns = clock_ns() + HUNG_NS;
		bool shut = false, ended = false;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
		while (!ended && clock_ns() < deadline_ns) {
			ended = outer_receive(&b, to, CHUNK_MAX) < 0;
			if (!shut && b.received[to] >= shut_at)
				shut = !shutdown(b.trial.outer[to], SHUT_WR);
			turn(&b, 0);
		}
		pthread_join(thread, NULL);
		assert_int_equal(s.sent, ROUND_BYTES);
		assert_int_equal(b.received[to], ROUND_BYTES);
		trial_close(&b.trial);
		memset(b.received, 0, sizeof(b.received));
		assert_int_equal(trial_open(&b.trial, &b.conf), 0);
	}
	assert_int_equal(bypass_counters(b.conf.bypass, n), 0);
	print_message("    %llu of %u ends left the map\n", (unsigned long long)n[BYPASS_ENDS_LEFT],
		      2 * ROUNDS);
	assert_true(n[BYPASS_ENDS_LEFT] > 0);
	bench_close(&b);
}

/* --- in the middle of a send(2) ---------------------------------------------------------------- */

/* A page that is not there: whoever reads it, be it the kernel, waits until it is put there. */
struct stall {
	int fd; /* userfaultfd(2) */
	size_t size;
	uint8_t *page;
};

static bool stall_open(struct stall *s)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	s->size = (size_t)sysconf(_SC_PAGESIZE);
	s->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (s->fd < 0)
		return false;
	s->page = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s->page, MAP_FAILED);
	r.range.start = (uintptr_t)s->page;
	r.range.len = s->size;
	assert_int_equal(ioctl(s->fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(s->fd, UFFDIO_REGISTER, &r), 0);
	return true;
}

static void stall_wait(const struct stall *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct uffd_msg m = { 0 };

	assert_int_equal(poll(&p, 1, (int)(STEP_MAX_NS / NSEC_PER_MSEC)), 1);
	assert_int_equal(read(s->fd, &m, sizeof(m)), sizeof(m));
	assert_int_equal(m.event, UFFD_EVENT_PAGEFAULT);
}

static void stall_end(const struct stall *s, const uint8_t *content)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)s->page,
				    .src = (uintptr_t)content,
				    .len = s->size };

	assert_int_equal(ioctl(s->fd, UFFDIO_COPY, &copy), 0);
}

static void stall_close(struct stall *s)
{
	munmap(s->page, s->size);
	close(s->fd);
}

struct stalled {
	struct stall stall;
	int fd;
	ssize_t n;
};

static void *send_stalled(void *arg)
{
	struct stalled *s = arg;

	s->n = send(s->fd, s->stall.page, s->stall.size, MSG_NOSIGNAL);
	return NULL;
}

static uint64_t ends_left(const struct bench *b)
{
	uint64_t n[N_BYPASS_COUNTERS];

	assert_int_equal(bypass_counters(b->conf.bypass, n), 0);
	return n[BYPASS_ENDS_LEFT];
}

/* What that send will do to the receiver's queue is not known yet: so that one stays in the map. */
static void who_is_being_sent_to_does_not_leave(void **state)
{
	static uint8_t content[64 * KIB];

	(void)state;
	SKIP_IF_REASON();
	for (int to = 0; to < 2; to++) {
		struct stalled s = { .n = -1 };
		pthread_t thread;
		struct bench b;

		if (!stall_open(&s.stall)) {
			print_message("skipped: userfaultfd: %s\n", strerror(errno));
			skip();
		}
		assert_true(s.stall.size <= sizeof(content));
		bench_open(&b, MIB, AF_INET);
		s.fd = b.trial.outer[!to];
		for (size_t k = 0; k < s.stall.size; k++)
			content[k] = byte_at(!to, k);
		assert_int_equal(pthread_create(&thread, NULL, send_stalled, &s), 0);
		stall_wait(&s.stall);
		assert_int_equal(shutdown(b.trial.outer[to], SHUT_WR), 0);
		assert_int_equal(ends_left(&b), 0);
		stall_end(&s.stall, content);
		pthread_join(thread, NULL);
		assert_int_equal(s.n, s.stall.size);
		b.sent[!to] = s.stall.size;
		/* Redirected it is no more, now that the receiver has ended. */
		assert_int_equal(record(&b, !to)->mode, BYPASS_ENDED);
		receive_rest(&b, to);
		bench_close(&b);
		stall_close(&s.stall);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocking_recv_waits_after_shutdown),
		cmocka_unit_test(bytes_under_way_survive_shutdown),
		cmocka_unit_test(who_is_being_sent_to_does_not_leave),
	};

	bypass_close(open_bypass(MIB));
	return cmocka_run_group_tests_name("bypass_ended", tests, NULL, NULL);
}
