/* SPDX-License-Identifier: MIT */
/*
 * What can be asked at the admin socket: one table of commands. A command makes its answer row by
 * row, each when there is room for it, so an answer of any length needs no memory; it never waits.
 */
#ifndef SHUNT_ADMIN_COMMAND_H
#define SHUNT_ADMIN_COMMAND_H

#include <cjson/cJSON.h>

#include "admin.h"
#include "flows.h"
#include "log.h"

#define ADMIN_ERROR_MAX 512

struct admin_command;

struct admin_request {
	const struct admin_command *command;
	const struct admin_context *context;
	uint64_t started_ns;            /* when the daemon was ready to answer */
	struct flows *flows;            /* for a command that wants them */
	struct reload_answer *reloaded; /* the same */
	struct app_list apps; /* those that ran, and those that were leaving, when it was asked */
	/* Options. */
	const struct app *app; /* NULL: all */
	bool why, sets_level;
	enum log_level level;                                /* if sets_level */
	char target[HOST_NAME_MAX_CHARS + sizeof(":65535")]; /* "": none */
	enum backend_order order;                            /* N_BACKEND_ORDERS: none */
	bool sets_bypass, bypass_off;
	/* What the options have led to. */
	struct backend *backend; /* held by app */
	/* Where the rows have got to: the command's own. */
	size_t part, at, inner_at;
	const char *error; /* the answer ends in it; NULL: in the number of rows */
};

struct admin_command {
	const char *name;
	const char *summary;
	unsigned int options; /* a bit for each that it takes */
	bool wants_flows;     /* runs when every worker has told its sessions */
	bool wants_reload;    /* runs when a reload has been done, or has failed */
	/* What must hold for all options together: 0, or -EINVAL as admin_request_parse(); NULL:
	 * nothing. */
	int (*check)(struct admin_request *r, char error[ADMIN_ERROR_MAX]);
	/* Fills in the next row, an empty object. False: there is none left. */
	bool (*run)(struct admin_request *r, cJSON *row);
};

/* -EINVAL with `WHAT "NAME"; did you mean "NEAREST"?`, or with `hint` when no name is near. */
int admin_unknown(char error[ADMIN_ERROR_MAX], const char *what, const char *name,
		  const char *const *names, size_t n, const char *hint);

/*
 * Fills in r->command, the options and the apps from a request; what else the request needs is the
 * caller's to add. 0, or -EINVAL with what is wrong and what would be right in `error`. It is for
 * admin_request_end() in either case.
 */
int admin_request_parse(struct admin_request *r, const struct admin_context *context,
			const char *line, char error[ADMIN_ERROR_MAX]) must_check;
/* Gives back what it holds; takes a zeroed one, too. */
void admin_request_end(struct admin_request *r);

#endif
