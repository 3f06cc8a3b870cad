/* SPDX-License-Identifier: MIT */
/*
 * The moments in which the program and userspace could disagree about who has a direction: what
 * comes by luck a few times an hour on a busy host is made to happen here, by doing it inside of
 * the very system call that the engine makes in that moment.
 */
#include <sys/syscall.h>

#include "net.h"
#include "sockmap_bench.h"

static struct bench *at_kick; /* whose engine is about to hand direction 0 to the program */

/*
 * The engine's "kick", at which the program sees that it may redirect. All that arrives inside of
 * it is redirected, until the target is full and the program passes a segment: all before the
 * engine looks again. The target's TCP is held up, so that redirected bytes are still under way
 * when userspace goes on.
 */
static void fill_the_target(struct bench *b)
{
	const struct shunt_direction *d = relay_sockmap_direction(&b->trial.relay, 0);

	if (!d || d->resume_at != d->passed || b->trial.relay.side[0].watch.fd < 0)
		return;
	at_kick = NULL;
	limit_unsent(b, 1);
	for (int i = 0; i < 10000 && !d->demotions; i++)
		outer_send(b, 0, 4000);
	assert_int_equal(d->demotions, 1);
	assert_true(d->redirected > 0);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (at_kick && level == SOL_SOCKET && name == SO_RCVLOWAT &&
	    fd == at_kick->trial.relay.side[0].watch.fd)
		fill_the_target(at_kick);
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

/* Redirected, full, passed, while userspace thinks that the direction is still its own. */
static void a_full_target_in_the_moment_of_handing_over_keeps_the_order(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int round = 0; round < 20; round++) {
		bench_open(&b, 64 * KIB, NULL);
		at_kick = &b;
		UNTIL(!at_kick)
			turn(&b, 1);
		assert_null(at_kick);
		receive_all(&b, 1, b.sent[0]);
		bench_close(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_target_in_the_moment_of_handing_over_keeps_the_order),
	};
	struct sockmap *m;

	/* Nobody else connects to a port there that a listener has just got. */
	(void)!net_unshare();
	m = open_map(1, MIB);
	sockmap_close(m);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
