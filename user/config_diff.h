/* SPDX-License-Identifier: MIT */
/*
 * What is different between two configurations, key by key, for whoever reads it and for a reload,
 * which keeps what has not changed. It goes by the tables of keys: a new key is compared by what
 * reads it, and needs a restart unless its row says that it is live.
 *
 * Apps go by their names, targets by their texts. The order of apps, ports, addresses and targets
 * is no difference.
 */
#ifndef SHUNT_CONFIG_DIFF_H
#define SHUNT_CONFIG_DIFF_H

#include "config.h"

#define CONFIG_DIFF_NEW SIZE_MAX

enum config_change_kind { CONFIG_ADDED, CONFIG_REMOVED, CONFIG_CHANGED };

struct config_change {
	enum config_change_kind kind;
	char *app;          /* NULL: the key is not an app's */
	char *key;          /* "ConnectTimeout", "Log.Level"; NULL: the whole app */
	char *from, *to;    /* as the file would have it, but without quotes; NULL: nothing */
	bool needs_restart; /* this one has no effect before */
};

/* What an app of the new configuration is to the old one. */
struct config_match {
	size_t before; /* its number there; CONFIG_DIFF_NEW: it was not there */
	bool changed;
};

struct config_diff {
	struct config_change *list; /* the daemon's keys, apps as they come, removed apps */
	size_t n, size;
	size_t added, removed, changed; /* apps */
	size_t need_restart;            /* of the list */
	struct config_match *match;     /* by the new apps */
};

/* The apps of the old configuration stand apart from it: what runs has taken them over. *out is
 * for config_diff_free(). */
void config_diff(const struct config *was, const struct app_conf *const *was_apps, size_t n_was,
		 const struct config *now, struct config_diff *out);
void config_diff_free(struct config_diff *d); /* takes a zeroed one, too */

/* Takes over the values of the keys that are live, but no apps. */
void config_adopt_live(struct config *c, const struct config *from);

extern const char *const config_change_names[]; /* "added", "removed", "changed" */

#endif
