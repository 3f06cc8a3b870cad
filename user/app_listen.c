/* SPDX-License-Identifier: MIT */
#include "app_listen.h"

static int compare(const void *va, const void *vb)
{
	return addr_compare(va, vb);
}

static struct app_listen listeners_of(const struct app_list *apps,
				      bool (*serves)(const struct app *app))
{
	struct app_listen all = { 0 };

	for (size_t i = 0; i < apps->n; i++) {
		const struct app_conf *conf = apps->list[i]->conf;

		if (!serves(apps->list[i]))
			continue;
		all.list = xreallocarray(all.list, all.n + app_conf_listeners(conf),
					 sizeof(*all.list));
		for (size_t k = conf->n_sockets; k < app_conf_listeners(conf); k++)
			all.list[all.n++] = app_conf_listener(conf, k);
	}
	if (all.n)
		qsort(all.list, all.n, sizeof(*all.list), compare);
	return all;
}

/* From what there is to what there is to be: both are in order. */
static void change(const struct app_listen *now, const struct app_listen *next,
		   const struct app_listen_follower *f)
{
	for (size_t i = 0, k = 0; i < now->n || k < next->n;) {
		int order = i == now->n    ? 1
			    : k == next->n ? -1
					   : addr_compare(&now->list[i], &next->list[k]);

		if (order < 0)
			f->change(f->arg, &now->list[i], false);
		if (order > 0)
			f->change(f->arg, &next->list[k], true);
		i += order <= 0;
		k += order >= 0;
	}
}

void app_listen_follow(struct app_listen *l, const struct app_list *apps,
		       const struct app_listen_follower *f)
{
	struct app_listen next = { 0 };

	if (apps)
		next = listeners_of(apps, f->serves);
	change(l, &next, f);
	free(l->list);
	*l = next;
}

void app_listen_free(struct app_listen *l)
{
	free(l->list);
	*l = (struct app_listen){ 0 };
}
