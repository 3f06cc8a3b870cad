/* SPDX-License-Identifier: MIT */
#include "config_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_health.h"
#include "config_read.h"
#include "config_value.h"

const char *const config_change_names[] = {
	[CONFIG_ADDED] = "added",
	[CONFIG_REMOVED] = "removed",
	[CONFIG_CHANGED] = "changed",
};

/* --- the list of changes ---------------------------------------------------------------------- */

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void add_change(struct config_diff *d, const struct config_change *c)
{
	if (d->n == d->size) {
		d->size = MAX(16u, 2 * d->size);
		d->list = xreallocarray(d->list, d->size, sizeof(*d->list));
	}
	d->list[d->n++] = (struct config_change){
		.kind = c->kind,
		.app = copy(c->app),
		.key = copy(c->key),
		.from = copy(c->from),
		.to = copy(c->to),
		.needs_restart = c->needs_restart,
	};
	d->need_restart += c->needs_restart;
}

/* An element of a list that has come or gone. */
static void add_element(struct config_diff *d, const struct app_conf *app, const char *key,
			bool added, const char *element)
{
	const struct config_change c = {
		.kind = added ? CONFIG_ADDED : CONFIG_REMOVED,
		.app = app->name,
		.key = (char *)key,
		.from = added ? NULL : (char *)element,
		.to = added ? (char *)element : NULL,
	};

	add_change(d, &c);
}

void config_diff_free(struct config_diff *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->list[i].app);
		free(d->list[i].key);
		free(d->list[i].from);
		free(d->list[i].to);
	}
	free(d->list);
	free(d->match);
	*d = (struct config_diff){ 0 };
}

/* --- objects ---------------------------------------------------------------------------------- */

/* Two objects of one kind, and the configs that they belong to. app: NULL if they are no app's. */
struct pair {
	const struct config *was_config, *now_config;
	const void *was, *now;
	const struct app_conf *app;
};

/* What is put before a key's name: nothing for those of the document and of an app. */
static const char *section_of(const struct object_kind *kind)
{
	const char *dot = strrchr(kind->name, '.');

	if (dot)
		return dot + 1;
	return strchr(kind->name, '[') ? "" : kind->name;
}

static void compare_values(struct config_diff *d, const struct object_kind *kind,
			   const struct pair *p)
{
	for (size_t i = 0; i < kind->n_keys; i++) {
		const struct key *key = &kind->keys[i];
		char from[CONFIG_VALUE_MAX], to[CONFIG_VALUE_MAX], name[64];
		const char *section = section_of(kind);

		if (!config_value_text(key, p->was, p->was_config, from) ||
		    !config_value_text(key, p->now, p->now_config, to) || !strcmp(from, to))
			continue;
		snprintf(name, sizeof(name), "%s%s%s", section, *section ? "." : "", key->name);
		add_change(d, &(struct config_change){
				      .kind = CONFIG_CHANGED,
				      .app = p->app ? p->app->name : NULL,
				      .key = name,
				      .from = from,
				      .to = to,
				      .needs_restart = !p->app && !key->live,
			      });
	}
}

/* Is it one whose keys are struct config's? */
static bool is_of_config(const struct object_kind *kind)
{
	return strcmp(kind->name, "Defaults") && !strchr(kind->name, '[');
}

static const struct object_kind *app_kind(void)
{
	size_t i = 0;

	while (strcmp(config_kinds[i]->name, "Apps[]"))
		i++;
	return config_kinds[i];
}

/* --- lists ------------------------------------------------------------------------------------ */

static int compare_port(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static uint16_t *sorted_ports(const struct app_conf *app)
{
	uint16_t *ports = xcalloc(app->n_ports, sizeof(*ports));

	if (!app->n_ports) /* it has unix sockets only */
		return ports;
	memcpy(ports, app->ports, app->n_ports * sizeof(*ports));
	qsort(ports, app->n_ports, sizeof(*ports), compare_port);
	return ports;
}

/* Says what one has and the other has not, ports in a row as a range. */
static void add_ports(struct config_diff *d, const struct app_conf *app, bool added,
		      const uint16_t *has, size_t n, const uint16_t *other, size_t n_other)
{
	char text[sizeof("65535-65535")];

	for (size_t i = 0, last; i < n; i = last + 1) {
		last = i;
		if (bsearch(&has[i], other, n_other, sizeof(*other), compare_port))
			continue;
		while (last + 1 < n && has[last + 1] == has[last] + 1 &&
		       !bsearch(&has[last + 1], other, n_other, sizeof(*other), compare_port))
			last++;
		snprintf(text, sizeof(text), last > i ? "%u-%u" : "%u", has[i], has[last]);
		add_element(d, app, "Ports", added, text);
	}
}

static void compare_ports(struct config_diff *d, const struct app_conf *was,
			  const struct app_conf *now)
{
	uint16_t *old_ports = sorted_ports(was), *new_ports = sorted_ports(now);

	add_ports(d, now, false, old_ports, was->n_ports, new_ports, now->n_ports);
	add_ports(d, now, true, new_ports, now->n_ports, old_ports, was->n_ports);
	free(old_ports);
	free(new_ports);
}

static bool listens_on(const struct app_conf *app, const struct addr *a)
{
	for (size_t i = 0; i < app->n_listen; i++)
		if (addr_equal(&app->listen[i], a))
			return true;
	return false;
}

static void add_addresses(struct config_diff *d, const struct app_conf *app, bool added,
			  const struct app_conf *has, const struct app_conf *other)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < has->n_listen; i++) {
		if (listens_on(other, &has->listen[i]))
			continue;
		add_element(d, app, "Listen", added, addr_format_host(&has->listen[i], text));
	}
}

static bool has_range(const struct addr_range_list *list, const struct addr_range *range)
{
	for (size_t i = 0; i < list->n; i++)
		if (addr_range_equal(&list->at[i], range))
			return true;
	return false;
}

static void add_ranges(struct config_diff *d, const struct app_conf *app, const char *key,
		       bool added, const struct addr_range_list *has,
		       const struct addr_range_list *other)
{
	char text[ADDR_RANGE_TEXT_MAX];

	for (size_t i = 0; i < has->n; i++)
		if (!has_range(other, &has->at[i]))
			add_element(d, app, key, added, addr_range_format(&has->at[i], text));
}

static void compare_ranges(struct config_diff *d, const struct app_conf *app, const char *key,
			   const struct addr_range_list *was, const struct addr_range_list *now)
{
	add_ranges(d, app, key, false, was, now);
	add_ranges(d, app, key, true, now, was);
}

static bool has_socket(const struct app_conf *app, const char *path)
{
	for (size_t i = 0; i < app->n_sockets; i++)
		if (!strcmp(app->sockets[i], path))
			return true;
	return false;
}

static void add_sockets(struct config_diff *d, const struct app_conf *app, bool added,
			const struct app_conf *has, const struct app_conf *other)
{
	for (size_t i = 0; i < has->n_sockets; i++) {
		struct addr a = addr_of_unix(has->sockets[i]);
		char text[ADDR_TEXT_MAX];

		if (!has_socket(other, has->sockets[i]))
			add_element(d, app, "Listen", added, addr_format(&a, text));
	}
}

static int compare_targets_by_text(const void *va, const void *vb)
{
	const struct target_conf *const *a = va, *const *b = vb;

	return strcmp((*a)->text, (*b)->text);
}

static const struct target_conf **sorted_targets(const struct app_conf *app)
{
	const struct target_conf **list = xcalloc(app->n_targets, sizeof(struct target_conf *));

	for (size_t i = 0; i < app->n_targets; i++)
		list[i] = &app->targets[i];
	qsort(list, app->n_targets, sizeof(struct target_conf *), compare_targets_by_text);
	return list;
}

static void compare_number(struct config_diff *d, const struct app_conf *app, const char *target,
			   const char *name, uint32_t was, uint32_t now)
{
	char key[HOST_NAME_MAX_CHARS + 64], from[16], to[16];

	if (was == now)
		return;
	snprintf(key, sizeof(key), "Targets[%s].%s", target, name);
	snprintf(from, sizeof(from), "%u", was);
	snprintf(to, sizeof(to), "%u", now);
	add_change(d, &(struct config_change){
			      .kind = CONFIG_CHANGED,
			      .app = app->name,
			      .key = key,
			      .from = from,
			      .to = to,
		      });
}

static void compare_target(struct config_diff *d, const struct app_conf *app,
			   const struct target_conf *was, const struct target_conf *now)
{
	compare_number(d, app, now->text, "Weight", was->weight, now->weight);
	compare_number(d, app, now->text, "MaxConnections", was->max_connections,
		       now->max_connections);
}

static void compare_targets(struct config_diff *d, const struct app_conf *was,
			    const struct app_conf *now)
{
	const struct target_conf **old_list = sorted_targets(was), **new_list = sorted_targets(now);
	size_t i = 0, k = 0;

	while (i < was->n_targets || k < now->n_targets) {
		int order = i == was->n_targets ? 1 : -1;

		if (i < was->n_targets && k < now->n_targets)
			order = compare_targets_by_text(&old_list[i], &new_list[k]);
		if (order < 0)
			add_element(d, now, "Targets", false, old_list[i]->text);
		else if (order > 0)
			add_element(d, now, "Targets", true, new_list[k]->text);
		else
			compare_target(d, now, old_list[i], new_list[k]);
		i += order <= 0;
		k += order >= 0;
	}
	free(old_list);
	free(new_list);
}

/* --- apps ------------------------------------------------------------------------------------- */

/* The objects in an app whose fields are its own. */
static void compare_sections(struct config_diff *d, const struct pair *p)
{
	const struct object_kind *app = app_kind();

	for (size_t i = 0; i < app->n_keys; i++) {
		const struct object_kind *section = config_app_section(app->keys[i].name);

		if (section)
			compare_values(d, section, p);
	}
}

static bool compare_apps(struct config_diff *d, const struct pair *p)
{
	const struct app_conf *was = p->was, *now = p->now;
	size_t n = d->n;

	compare_ports(d, was, now);
	add_addresses(d, now, false, was, now);
	add_addresses(d, now, true, now, was);
	add_sockets(d, now, false, was, now);
	add_sockets(d, now, true, now, was);
	compare_targets(d, was, now);
	compare_values(d, app_kind(), p);
	if (was->health.on && now->health.on)
		compare_values(d, &config_health_kind,
			       &(struct pair){ p->was_config, p->now_config, &was->health,
					       &now->health, now });
	compare_sections(d, p);
	compare_ranges(d, now, "ProxyProtocol.TrustedFrom", &was->proxy_protocol.trusted,
		       &now->proxy_protocol.trusted);
	compare_ranges(d, now, "SourceAddresses", &was->sources, &now->sources);
	return d->n > n;
}

/* An app's name, and which one it is. */
struct named {
	const char *name;
	size_t i;
};

static int compare_names(const void *va, const void *vb)
{
	const struct named *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

/* Fills in match[].before. Returns for each old app whether it is still there. */
static bool *match_names(struct config_diff *d, const struct app_conf *const *was, size_t n_was,
			 const struct config *now)
{
	struct named *names = xcalloc(n_was, sizeof(*names));
	bool *stays = xcalloc(n_was, sizeof(*stays));

	d->match = xcalloc(now->n_apps, sizeof(*d->match));
	for (size_t i = 0; i < n_was; i++)
		names[i] = (struct named){ was[i]->name, i };
	if (n_was)
		qsort(names, n_was, sizeof(*names), compare_names);
	for (size_t i = 0; i < now->n_apps; i++) {
		struct named key = { .name = now->apps[i].name }, *found = NULL;

		if (n_was)
			found = bsearch(&key, names, n_was, sizeof(*names), compare_names);
		d->match[i].before = found ? found->i : CONFIG_DIFF_NEW;
		if (found)
			stays[found->i] = true;
	}
	free(names);
	return stays;
}

void config_diff(const struct config *was, const struct app_conf *const *was_apps, size_t n_was,
		 const struct config *now, struct config_diff *out)
{
	bool *stays;

	*out = (struct config_diff){ 0 };
	for (size_t i = 0; i < n_config_kinds; i++)
		if (is_of_config(config_kinds[i]))
			compare_values(out, config_kinds[i],
				       &(struct pair){ was, now, was, now, NULL });
	stays = match_names(out, was_apps, n_was, now);
	for (size_t i = 0; i < now->n_apps; i++) {
		const struct app_conf *app = &now->apps[i];
		struct config_match *m = &out->match[i];

		if (m->before == CONFIG_DIFF_NEW) {
			out->added++;
			add_change(out, &(struct config_change){ CONFIG_ADDED, .app = app->name });
			continue;
		}
		m->changed = compare_apps(out, &(struct pair){ was, now, was_apps[m->before], app,
							       app });
		out->changed += m->changed;
	}
	for (size_t i = 0; i < n_was; i++) {
		if (stays[i])
			continue;
		out->removed++;
		add_change(out,
			   &(struct config_change){ CONFIG_REMOVED, .app = was_apps[i]->name });
	}
	free(stays);
}

void config_adopt_live(struct config *c, const struct config *from)
{
	for (size_t i = 0; i < n_config_kinds; i++) {
		const struct object_kind *kind = config_kinds[i];

		for (size_t k = 0; is_of_config(kind) && k < kind->n_keys; k++)
			if (kind->keys[k].live)
				config_value_copy(&kind->keys[k], c, from);
	}
}
