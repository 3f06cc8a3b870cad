/* SPDX-License-Identifier: MIT */
/*
 * From a sample to lines. Nothing is wider than the view: names give way first, then a line is cut.
 * Widths count characters, since names may be in any script.
 */
#include <stdarg.h>
#include <string.h>

#include "client.h"
#include "table.h"
#include "top.h"

#define LINE_MAX_BYTES 1024
#define REVERSE "\033[7m"
#define BOLD "\033[1m"
#define PLAIN "\033[m"
#define NAME_WIDTH_MIN 12
#define APP_WIDTH 20   /* of a target's app, at most */
#define CLOSED_LINES 2 /* what connections ended by takes so many at most */

struct canvas {
	const struct top_view *view;
	FILE *out;
	size_t lines;
};

/* The columns behind the name; a list's rows all have them. */
static const struct {
	const char *title;
	int width;
	unsigned int sort;
} columns[] = {
	{ "ACTIVE", 8, TOP_BY_ACTIVE },
	{ "NEW/s", 8, TOP_BY_COUNTER + TOP_NEW },
	{ "FAILED/s", 10, TOP_BY_COUNTER + TOP_FAILED },
	{ "TO BACKEND", 12, TOP_BY_COUNTER + TOP_TO_BACKEND },
	{ "TO CLIENT", 11, TOP_BY_COUNTER + TOP_TO_CLIENT },
	{ "UP", 9, N_TOP_SORTS },
};
#define COLUMNS_WIDTH (8 + 8 + 10 + 12 + 11 + 9)

/* --- lines ----------------------------------------------------------------------------------- */

static bool is_full(const struct canvas *c)
{
	return c->view->height && c->lines == c->view->height;
}

/* The bytes of at most `width` characters. */
static size_t cut(const char *text, size_t width)
{
	size_t n = 0;

	while (text[n] && (width > 0 || (text[n] & 0xc0) == 0x80)) {
		width -= (text[n] & 0xc0) != 0x80;
		n++;
	}
	return n;
}

static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

/* A style is for the whole line, whose end it reaches to. */
static void put_line(struct canvas *c, const char *style, const char *text)
{
	const struct top_view *v = c->view;
	size_t n = cut(text, v->width), width = width_of(text);

	if (is_full(c))
		return;
	c->lines++;
	if (!v->styled || !*style)
		fprintf(c->out, "%.*s\n", (int)n, text);
	else
		fprintf(c->out, "%s%.*s%*s" PLAIN "\n", style, (int)n, text,
			(int)(v->width - MIN(width, v->width)), "");
}

static void printf_like(3, 4) line(struct canvas *c, const char *style, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_line(c, style, text);
}

/* Left-aligned in `width` characters; what is too long ends in "~". Returns its end. */
static char *put_name(char *at, const char *name, size_t width)
{
	size_t all = width_of(name), n = cut(name, all > width ? width - 1 : width);

	at = (char *)memcpy(at, name, n) + n;
	if (all > width)
		*at++ = '~';
	for (; all < width; all++)
		*at++ = ' ';
	*at = '\0';
	return at;
}

/* --- numbers --------------------------------------------------------------------------------- */

static const char *rate_text(char buf[TABLE_UNIT_MAX], double rate)
{
	if (rate < 99.95)
		snprintf(buf, TABLE_UNIT_MAX, "%.1f", rate);
	else if (rate < 99999.5)
		snprintf(buf, TABLE_UNIT_MAX, "%.0f", rate);
	else
		snprintf(buf, TABLE_UNIT_MAX, "%.0fk", rate / 1000);
	return buf;
}

static const char *bytes_text(char buf[TABLE_UNIT_MAX + 2], double rate)
{
	char bytes[TABLE_UNIT_MAX];

	snprintf(buf, TABLE_UNIT_MAX + 2, "%s/s", table_bytes(bytes, (uint64_t)rate));
	return buf;
}

/* By how much a counter has risen a second. */
static double rise(const struct top_sample *s, const cJSON *now, const cJSON *before,
		   const char *key)
{
	return s->seconds > 0
		       ? MAX((double)client_number(now, key) - (double)client_number(before, key),
			     0) / s->seconds
		       : 0;
}

static double sum(const struct top_rows *rows, enum top_counter counter)
{
	double all = 0;

	for (size_t i = 0; i < rows->n; i++)
		all += rows->list[i].rate[counter];
	return all;
}

/* --- the head -------------------------------------------------------------------------------- */

static void draw_daemon(struct canvas *c, const struct top_sample *s)
{
	const cJSON *st = s->status, *states = cJSON_GetObjectItemCaseSensitive(st, "states"), *n;
	char up[TABLE_UNIT_MAX], live[256] = "";
	size_t len = 0;

	line(c, BOLD, "shunt %s, pid %.0f, up %s, %s, %.0f workers", client_text(st, "version"),
	     (double)client_number(st, "pid"),
	     table_duration(up, (uint64_t)(double)client_number(st, "uptime_ms")),
	     client_text(st, "state"), (double)client_number(st, "workers"));
	cJSON_ArrayForEach(n, states)
	{
		if (n->valuedouble > 0 && len < sizeof(live))
			len += (size_t)snprintf(live + len, sizeof(live) - len, "%s%.0f %s",
						len ? ", " : "", n->valuedouble, n->string);
	}
	line(c, "", "Live     %.0f: %s; room for %.0f more", (double)client_number(st, "sessions"),
	     len ? live : "none", (double)client_number(st, "room"));
}

static void draw_rates(struct canvas *c, const struct top_sample *s)
{
	char new[TABLE_UNIT_MAX], failed[TABLE_UNIT_MAX], failovers[TABLE_UNIT_MAX];
	char to_backend[TABLE_UNIT_MAX], to_client[TABLE_UNIT_MAX];

	line(c, "", "Rates/s  %s new, %s failed, %s failovers, %s to backends, %s to clients",
	     rate_text(new, sum(&s->apps, TOP_NEW)), rate_text(failed, sum(&s->apps, TOP_FAILED)),
	     rate_text(failovers, rise(s, s->status, s->status_before, "failovers")),
	     table_bytes(to_backend, (uint64_t)sum(&s->apps, TOP_TO_BACKEND)),
	     table_bytes(to_client, (uint64_t)sum(&s->apps, TOP_TO_CLIENT)));
}

/* Directions by engine, whatever the reason: "copy 12/12, splice 3/0". */
static void draw_engines(struct canvas *c, const struct top_sample *s)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(s->status, "engines"), *e, *other;
	const char *last = "";
	char text[256] = "";
	size_t len = 0;

	cJSON_ArrayForEach(e, list)
	{
		const char *name = client_text(e, "engine");
		double to_backend = 0, to_client = 0;

		if (!strcmp(name, last))
			continue; /* counted with the first of its name */
		last = name;
		for (other = e; other && !strcmp(client_text(other, "engine"), name);
		     other = other->next) {
			to_backend += (double)client_number(other, "to_backend");
			to_client += (double)client_number(other, "to_client");
		}
		if (len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %.0f/%.0f",
						len ? ", " : "", name, to_backend, to_client);
	}
	line(c, "", "Engines  %s%s", len ? text : "none",
	     len ? " (directions to backend/to client)" : "");
}

/* "done 120 (3.0/s), client_reset 2 (0.0/s)", over as few lines as it takes. */
static void draw_closed(struct canvas *c, const struct top_sample *s)
{
	const cJSON *closed = cJSON_GetObjectItemCaseSensitive(s->status, "closed"), *n;
	const cJSON *before = cJSON_GetObjectItemCaseSensitive(s->status_before, "closed");
	char text[LINE_MAX_BYTES] = "", item[128], rate[TABLE_UNIT_MAX];
	size_t lines = 0;

	cJSON_ArrayForEach(n, closed)
	{
		if (n->valuedouble <= 0)
			continue;
		snprintf(item, sizeof(item), "%s %.0f (%s/s)", n->string, n->valuedouble,
			 rate_text(rate, rise(s, closed, before, n->string)));
		if (*text && strlen("Ended    ") + strlen(text) + strlen(", ,") + strlen(item) >
				     c->view->width) {
			if (++lines == CLOSED_LINES)
				break;
			line(c, "", "%s%s,", lines == 1 ? "Ended    " : "         ", text);
			*text = '\0';
		}
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			 *text ? ", " : "", item);
	}
	line(c, "", "%s%s%s", lines ? "         " : "Ended    ", *text ? text : "none",
	     lines == CLOSED_LINES ? ", ..." : "");
}

/* --- the lists ------------------------------------------------------------------------------- */

static double sort_key(const struct top_row *r, unsigned int sort)
{
	return sort == TOP_BY_ACTIVE ? (double)r->active : r->rate[sort - TOP_BY_COUNTER];
}

/* Most first, names from a to z; what is equal stays in the order of names. */
static int row_order(const void *va, const void *vb, void *view)
{
	const struct top_view *v = view;
	const struct top_row *a = va, *b = vb;
	int names = strcmp(a->app, b->app), order;

	if (!names && a->target)
		names = strcmp(a->target, b->target);
	order = names;
	if (v->sort != TOP_BY_NAME && sort_key(a, v->sort) != sort_key(b, v->sort))
		order = sort_key(a, v->sort) < sort_key(b, v->sort) ? 1 : -1;
	return v->reversed ? -order : order;
}

static size_t name_width(const struct top_view *v)
{
	size_t left = v->width > COLUMNS_WIDTH ? v->width - COLUMNS_WIDTH : 0;

	return MIN(MAX(left, NAME_WIDTH_MIN), LINE_MAX_BYTES / 8);
}

/* A target stands beside its app: two apps may have the same one. Where there is little room, the
 * app's name gets a third of it. */
static size_t app_width(const struct top_view *v)
{
	return MIN(APP_WIDTH, name_width(v) / 3);
}

static void draw_row(struct canvas *c, const struct top_row *r)
{
	char text[LINE_MAX_BYTES], bytes[TABLE_UNIT_MAX + 2], *at = text;
	size_t app = r->target ? app_width(c->view) : 0;

	if (app) {
		at = put_name(at, r->app, app - 1);
		*at++ = ' ';
	}
	at = put_name(at, r->target ? r->target : r->app, name_width(c->view) - app);
	at += sprintf(at, "%8llu", (unsigned long long)r->active);
	at += sprintf(at, "%8s", rate_text(bytes, r->rate[TOP_NEW]));
	at += sprintf(at, "%10s", rate_text(bytes, r->rate[TOP_FAILED]));
	at += sprintf(at, "%12s", bytes_text(bytes, r->rate[TOP_TO_BACKEND]));
	at += sprintf(at, "%11s", bytes_text(bytes, r->rate[TOP_TO_CLIENT]));
	sprintf(at, "%9s", r->state);
	put_line(c, "", text);
}

static void draw_titles(struct canvas *c, const char *name, bool of_targets)
{
	const struct top_view *v = c->view;
	char text[LINE_MAX_BYTES], *at = text, title[16];
	size_t app = of_targets ? app_width(v) : 0;

	if (app)
		at = put_name(at, "APP", app);
	snprintf(title, sizeof(title), "%s%s", name, v->sort == TOP_BY_NAME ? "*" : "");
	at = put_name(at, title, name_width(v) - app);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		snprintf(title, sizeof(title), "%s%s", columns[i].title,
			 columns[i].sort == v->sort ? "*" : "");
		at += sprintf(at, "%*s", columns[i].width, title);
	}
	put_line(c, REVERSE, text);
}

/* At most `lines` lines, with that of the titles. */
static void draw_list(struct canvas *c, struct top_rows *rows, const char *name, bool of_targets,
		      size_t lines)
{
	size_t n = rows->n;

	if (lines < 2)
		return;
	draw_titles(c, name, of_targets);
	if (n > lines - 1)
		n = lines - 2;
	for (size_t i = 0; i < n; i++)
		draw_row(c, &rows->list[i]);
	if (n < rows->n)
		line(c, "", "... and %zu more", rows->n - n);
}

/* Of the lines that are left, the apps get what they need but no more than half. */
static void draw_lists(struct canvas *c, struct top_sample *s, size_t left)
{
	const struct top_view *v = c->view;
	size_t apps = s->apps.n + 1, targets = s->targets.n + 1;

	if (v->lists == TOP_TARGETS) {
		apps = 0;
	} else if (v->lists == TOP_APPS) {
		targets = 0;
	} else if (apps + 1 + targets > left && left > 0) {
		apps = MIN(apps, MAX(left / 2, left - MIN(left, targets + 1)));
	}
	apps = MIN(apps, left);
	if (apps)
		draw_list(c, &s->apps, "APP", false, apps);
	if (apps && targets && left > apps + 2) {
		put_line(c, "", "");
		left--;
	}
	if (targets)
		draw_list(c, &s->targets, "TARGET", true, MIN(targets, left - apps));
}

static void sort_rows(const struct top_view *v, struct top_rows *rows)
{
	if (rows->n)
		qsort_r(rows->list, rows->n, sizeof(*rows->list), row_order, (void *)v);
}

static void draw_foot(struct canvas *c)
{
	const struct top_view *v = c->view;
	char interval[TABLE_UNIT_MAX];

	while (v->height && c->lines + 1 < v->height)
		put_line(c, "", "");
	if (v->notice)
		line(c, REVERSE, "%s", v->notice);
	else if (v->height)
		line(c, BOLD, "q quit  n a c f b t sort  r reverse  Tab lists  + - every %s",
		     table_duration(interval, v->interval_ms));
}

void top_draw(const struct top_view *v, struct top_sample *s, FILE *out)
{
	struct canvas c = { v, out, 0 };

	if (s->status) {
		sort_rows(v, &s->apps);
		sort_rows(v, &s->targets);
		draw_daemon(&c, s);
		draw_rates(&c, s);
		draw_engines(&c, s);
		draw_closed(&c, s);
		put_line(&c, "", "");
		/* The last line is the foot's. */
		draw_lists(&c, s,
			   v->height ? v->height - MIN(v->height, c.lines + 1) : SIZE_MAX / 2);
	}
	draw_foot(&c);
}
