/* SPDX-License-Identifier: MIT */
#include "slots.h"

void slots_init(struct slots *s, uint32_t n)
{
	*s = (struct slots){ .n = n, .n_free = n };
	s->queue = xcalloc(n, sizeof(*s->queue));
	s->generation = xcalloc(n, sizeof(*s->generation));
	for (uint32_t i = 0; i < n; i++)
		s->queue[i].index = i;
}

void slots_free(struct slots *s)
{
	free(s->queue);
	free(s->generation);
	*s = (struct slots){ 0 };
}

int64_t slots_take(struct slots *s, uint64_t now_ns)
{
	const struct free_slot *f = &s->queue[s->oldest];

	if (!s->n_free || (f->since_ns && now_ns < f->since_ns + SLOT_REST_NS))
		return -ENOSPC;
	s->oldest = (s->oldest + 1) % s->n;
	s->n_free--;
	s->generation[f->index]++;
	return f->index;
}

void slots_give(struct slots *s, uint32_t index, uint64_t now_ns)
{
	s->queue[(s->oldest + s->n_free++) % s->n] = (struct free_slot){ index, now_ns };
}
