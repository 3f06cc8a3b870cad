/* SPDX-License-Identifier: MIT */
/*
 * Apps are the nodes of a graph, and each literal target at which an app of this file listens is an
 * edge to that app. Targets that are names, or addresses that the host may have or not, are not
 * known here. A depth-first walk finds the edges that lead back to an app that it is still in:
 * there is a circle if, and only if, there is such an edge. It has a stack of its own, as a chain
 * may be as long as the file has apps.
 *
 * They are errors, and not only told of: a connection into a circle makes the next one, and goes on
 * until descriptors are out and accepting pauses for all apps. That the apps have other targets,
 * too, only makes it a matter of chance: no balancer keeps a target for when the others are down,
 * and when they are, all connections go round.
 */
#include "config_loops.h"

#include <string.h>

/* An app that the walk is in. */
struct step {
	uint32_t app;
	size_t target;              /* that is looked at, or led on */
	const struct json *element; /* that it stands in; NULL: there are none */
};

struct walk {
	struct reader *reader;
	const struct config *config;
	const struct json **apps; /* by their numbers */
	const struct port_book *ports;
	struct step *steps;
	uint32_t n_steps;
	uint32_t *place; /* of each app: its step, plus 1; or */
#define UNSEEN 0
#define LEFT UINT32_MAX
};

static void enter(struct walk *w, uint32_t app)
{
	const struct json *targets = json_member(w->apps[app], "Targets");

	w->steps[w->n_steps++] =
		(struct step){ .app = app, .element = targets ? targets + 1 : NULL };
	w->place[app] = w->n_steps;
}

static void leave(struct walk *w)
{
	w->place[w->steps[--w->n_steps].app] = LEFT;
}

/* The app that listens there leads to the one of the last step. */
static void complain(struct walk *w, const struct target_conf *t, const struct port_holder *holder)
{
	const struct step *last = &w->steps[w->n_steps - 1];
	const struct step *there = &w->steps[w->place[holder->app] - 1];
	const struct app_conf *apps = w->config->apps, *owner = &apps[holder->app];
	char target[QUOTED_MAX], name[QUOTED_MAX], on[QUOTED_MAX];

	reader_scope_app(w->reader, apps[last->app].name, last->app);
	quoted(target, t->text);
	if (there == last)
		reader_fail(w->reader, last->element->at,
			    "target %s is where the app itself listens (line %u), must lead "
			    "elsewhere",
			    target, holder->at.line);
	else
		reader_fail(w->reader, last->element->at,
			    "target %s is where app %s listens (line %u), whose target %s (line "
			    "%u) leads back here, must lead elsewhere",
			    target, quoted_name(name, owner->name), holder->at.line,
			    quoted(on, owner->targets[there->target].text),
			    there->element->at.line);
}

/* Goes on by the next target of the last step's app, or out of it. */
static void move(struct walk *w)
{
	struct step *last = &w->steps[w->n_steps - 1];
	const struct app_conf *app = &w->config->apps[last->app];
	const struct target_conf *t;
	struct port_holder holder;

	if (!last->element || last->target == app->n_targets) {
		leave(w);
		return;
	}
	t = &app->targets[last->target];
	if (t->is_literal && port_book_reached(w->ports, &t->addr, &holder)) {
		if (w->place[holder.app] == UNSEEN) {
			enter(w, holder.app);
			return; /* and comes to this target again when that app is done */
		}
		if (w->place[holder.app] != LEFT)
			complain(w, t, &holder);
	}
	last->target++;
	last->element += last->element->span;
}

void check_loops(struct reader *r, const struct config *c, const struct json *list,
		 const struct port_book *ports)
{
	struct walk w = { .reader = r, .config = c, .ports = ports };
	size_t n = 0;

	w.apps = xcalloc(c->n_apps, sizeof(struct json *));
	w.steps = xcalloc(c->n_apps, sizeof(*w.steps));
	w.place = xcalloc(c->n_apps, sizeof(*w.place));
	json_for_each(app, list)
		w.apps[n++] = app;
	for (uint32_t app = 0; app < c->n_apps; app++) {
		if (w.place[app] != UNSEEN)
			continue;
		enter(&w, app);
		while (w.n_steps)
			move(&w);
	}
	free(w.apps);
	free(w.steps);
	free(w.place);
}
