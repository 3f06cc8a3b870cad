/* SPDX-License-Identifier: MIT */
#include "admission.h"

#include "sources.h"

void admission_init(struct admission *a, uint32_t max_connections)
{
	*a = (struct admission){ .max_connections = max_connections };
	waitq_init(&a->queue);
	a->sources = sources_new();
}

void admission_destroy(struct admission *a)
{
	sources_free(a->sources);
	waitq_destroy(&a->queue);
}

void admission_change(struct admission *a, uint32_t max_connections)
{
	atomic_store(&a->max_connections, max_connections);
	waitq_kick(&a->queue);
}

bool admission_take(struct admission *a)
{
	return count_up_to(&a->connections, atomic_load(&a->max_connections));
}

void admission_give(struct admission *a)
{
	atomic_fetch_sub(&a->connections, 1);
	waitq_kick(&a->queue);
}

uint32_t admission_left(const struct admission *a)
{
	uint32_t max = atomic_load(&a->max_connections), now = atomic_load(&a->connections);

	if (!max)
		return UINT32_MAX;
	return now < max ? max - now : 0;
}
