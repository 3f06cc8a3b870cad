/* SPDX-License-Identifier: MIT */
/*
 * Any text is either taken, with every promise of config.h kept, or refused with errors in the
 * order of the text. Memory errors and leaks are the sanitizers' to find.
 */
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
	if (!promise)
		abort();
}

static void check_config(const struct config *c)
{
	require(c->n_apps > 0);
	for (size_t i = 0; i < c->n_apps; i++) {
		const struct app_conf *a = &c->apps[i];

		require(a->name && *a->name && app_conf_listeners(a) && a->n_targets);
		require(a->balance && a->connect_timeout_ms > 0);
		for (size_t p = 0; p < a->n_ports; p++)
			require(a->ports[p] > 0);
		for (size_t t = 0; t < a->n_targets; t++)
			require(a->targets[t].text &&
				(a->targets[t].at.port || addr_unix_path(a->targets[t].text)) &&
				a->targets[t].weight && a->targets[t].weight <= CONFIG_WEIGHT_MAX);
	}
}

static void check_errors(const struct config_errors *e)
{
	char text[2048];

	require(e->n && e->n <= e->total && e->n <= CONFIG_ERRORS_MAX);
	for (size_t i = 0; i < e->n; i++) {
		require(config_error_format(&e->list[i], "f", text, sizeof(text)) > 0);
		require(!strchr(text, '\n') && !strchr(text, '\x1b'));
		require(!i || e->list[i - 1].line < e->list[i].line ||
			(e->list[i - 1].line == e->list[i].line &&
			 e->list[i - 1].column <= e->list[i].column));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const balancers[] = { "p2c", "round_robin" };
	static const char *const engines[] = { "auto", "copy" };
	const struct config_vocabulary v = { balancers, 2, engines, 2 };
	struct config_errors errors;
	struct config *c = config_parse((const char *)data, size, &v, &errors);

	if (c)
		check_config(c);
	else
		check_errors(&errors);
	require(!c || !errors.total);
	config_free(c);
	config_errors_free(&errors);
	return 0;
}
