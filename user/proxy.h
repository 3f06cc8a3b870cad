/* SPDX-License-Identifier: MIT */
/*
 * The daemon as a whole: it makes apps from the config, opens what listens, starts the workers,
 * keeps names resolved, and answers signals. It runs on the main thread and never touches a
 * session.
 *
 * SIGHUP reloads the config (reload.h). SIGTERM drains (no new connections, established ones run to
 * their end, at most DrainTimeout); a second one, or SIGINT, stops at once.
 */
#ifndef SHUNT_PROXY_H
#define SHUNT_PROXY_H

#include "config.h"
#include "reload.h"

/* What the engines and balancers of this build are called, for config_load(). */
struct config_vocabulary proxy_vocabulary(void);

/*
 * Runs until it is told to stop. `config` is taken; `source` says where it came from, and a reload
 * comes from. Returns 0 after an orderly end, or -errno; everything that went wrong has been
 * logged.
 */
int proxy_run(struct config *config, const struct reload_source *source,
	      const char *version) must_check;

#endif
