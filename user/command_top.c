/* SPDX-License-Identifier: MIT */
/*
 * `shunt top`: asks the running daemon again and again, and shows what it says. A daemon that goes
 * away is waited for: the last picture stays, with a notice, until the next one answers.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "command_ask.h"
#include "screen.h"
#include "top.h"

#define INTERVAL_DEFAULT_MS 1000
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 60000
#define TIMEOUT_S 2         /* keys wait as long */
#define NOTICE_FOR_MS 10000 /* that the daemon has been restarted */
#define COUNT_WIDTH 100     /* of lines that no terminal cuts */

struct session {
	const char *socket, *app;
	struct top_view view;
	struct top_sample sample;
	uint64_t restarted_ns;        /* when it was seen; 0: never */
	char error[CLIENT_ERROR_MAX]; /* of the last try; "": it went well */
	char notice[CLIENT_ERROR_MAX + sizeof("Waiting: ")];
};

/* --- asking ---------------------------------------------------------------------------------- */

static void on_line(const char *text, cJSON *row, void *arg)
{
	(void)text;
	top_sample_add(arg, row);
}

/* 0, or -errno with the reason in t->error; then the last sample stays. */
static int ask(struct session *t)
{
	cJSON *request = cJSON_CreateObject();
	struct top_sample sample = { 0 };
	int rc;

	cJSON_AddStringToObject(request, "command", "top");
	if (t->app)
		cJSON_AddStringToObject(request, "app", t->app);
	rc = client_ask(t->socket, TIMEOUT_S, request, on_line, &sample, t->error);
	cJSON_Delete(request);
	if (rc) {
		top_sample_free(&sample);
		return rc;
	}
	*t->error = '\0';
	if (!top_sample_compare(&sample, &t->sample))
		t->restarted_ns = clock_ns();
	top_sample_free(&t->sample);
	t->sample = sample;
	return 0;
}

/* --- showing --------------------------------------------------------------------------------- */

static const char *notice(struct session *t)
{
	if (*t->error) {
		snprintf(t->notice, sizeof(t->notice), "Waiting: %s", t->error);
		return t->notice;
	}
	if (t->restarted_ns && clock_ns() - t->restarted_ns < NOTICE_FOR_MS * NSEC_PER_MSEC)
		return "The daemon has been restarted: counters and rates have begun anew.";
	return NULL;
}

static void show(struct session *t, const struct screen *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	t->view.width = s->width;
	t->view.height = s->height;
	t->view.notice = notice(t);
	top_draw(&t->view, &t->sample, out);
	if (!fclose(out))
		screen_show(s, text);
	free(text);
}

/* False: to quit. */
static bool press(struct session *t, int key)
{
	static const char sorts[N_TOP_SORTS + 1] = "nacfbt"; /* in the order of enum top_sort */
	const char *sort = strchr(sorts, key);
	struct top_view *v = &t->view;

	if (sort)
		v->sort = (unsigned int)(sort - sorts);
	else if (key == 'r')
		v->reversed = !v->reversed;
	else if (key == '\t')
		v->lists = (v->lists + 1) % N_TOP_LISTS;
	else if (key == '+')
		v->interval_ms = MIN(2 * v->interval_ms, INTERVAL_MAX_MS);
	else if (key == '-')
		v->interval_ms = MAX(v->interval_ms / 2, INTERVAL_MIN_MS);
	return key != 'q';
}

/* Until the user quits. False: the daemon answers, but not this question. */
static bool watch(struct session *t, struct screen *screen)
{
	uint64_t next_ns = clock_ns() + t->view.interval_ms * NSEC_PER_MSEC, now_ns;
	int event;

	for (;;) {
		show(t, screen);
		now_ns = clock_ns();
		event = screen_wait(
			screen,
			next_ns > now_ns ? (uint32_t)((next_ns - now_ns) / NSEC_PER_MSEC) + 1 : 0);
		if (event == SCREEN_END || (event > 0 && !press(t, event)))
			return true;
		if (clock_ns() < next_ns)
			continue;
		if (ask(t) == -EPROTO)
			return false;
		next_ns = clock_ns() + t->view.interval_ms * NSEC_PER_MSEC;
	}
}

static int fail(const struct session *t)
{
	fprintf(stderr, "shunt: %s\n", t->error);
	return EXIT_FAILURE;
}

static int run_live(struct session *t)
{
	struct screen screen;
	bool understood;

	if (ask(t))
		return fail(t);
	if (screen_open(&screen)) {
		fprintf(stderr,
			"shunt: this is no terminal: `shunt top --count N` prints N looks as text\n");
		return EXIT_FAILURE;
	}
	understood = watch(t, &screen);
	screen_close(&screen);
	return understood ? EXIT_SUCCESS : fail(t);
}

static int run_counted(struct session *t, unsigned int count)
{
	const struct timespec pause = { t->view.interval_ms / 1000,
					t->view.interval_ms % 1000 * (long)NSEC_PER_MSEC };

	t->view.styled = false;
	t->view.width = COUNT_WIDTH;
	if (ask(t)) /* what the first one's rates are of */
		return fail(t);
	for (unsigned int i = 0; i < count; i++) {
		nanosleep(&pause, NULL);
		if (ask(t))
			return fail(t);
		t->view.notice = notice(t);
		printf("%s", i ? "\n" : "");
		top_draw(&t->view, &t->sample, stdout);
		fflush(stdout);
	}
	return EXIT_SUCCESS;
}

/* --- the command ----------------------------------------------------------------------------- */

static bool parse_interval(const char *text, uint32_t *ms)
{
	char *end;
	double value = strtod(text, &end) * 1000;

	if (*end || !(value >= INTERVAL_MIN_MS && value <= INTERVAL_MAX_MS)) {
		fprintf(stderr, "shunt: --interval \"%s\" is not a number from 0.1 to 60\n", text);
		return false;
	}
	*ms = (uint32_t)value;
	return true;
}

static bool parse_count(const char *text, unsigned int *count)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !n || n > INT32_MAX) {
		fprintf(stderr, "shunt: --count \"%s\" is not a number from 1\n", text);
		return false;
	}
	*count = (unsigned int)n;
	return true;
}

int command_top(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "app", required_argument, NULL, 'a' },
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		COMMAND_ASK_OPTIONS,
	};
	struct session t = {
		.view = { .styled = true,
			  .sort = TOP_BY_ACTIVE,
			  .interval_ms = INTERVAL_DEFAULT_MS },
	};
	struct command_ask ask = { 0 };
	unsigned int count = 0;
	bool right = true;
	char *path;
	int option, status;

	while (right &&
	       (option = getopt_long(argc, argv, COMMAND_ASK_SHORT, options, NULL)) != -1) {
		if (option == 'a')
			t.app = optarg;
		else if (option == 'i')
			right = parse_interval(optarg, &t.view.interval_ms);
		else if (option == 'n')
			right = parse_count(optarg, &count);
		else if (!command_ask_option(&ask, option))
			return option == 'h' ? command_help(c) : command_usage_error(c);
	}
	if (!right)
		return EXIT_USAGE;
	if (optind < argc)
		return command_usage_error(c);
	t.socket = path = command_socket(ask.socket, ask.config);
	if (!path)
		return EXIT_FAILURE;
	status = count ? run_counted(&t, count) : run_live(&t);
	top_sample_free(&t.sample);
	free(path);
	return status;
}
