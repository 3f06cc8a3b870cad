/* SPDX-License-Identifier: MIT */
/*
 * Errors are kept sorted by their place in the text, so the list holds the first CONFIG_ERRORS_MAX
 * of them in whatever order the checks run. What would not be kept is counted, but never formatted:
 * a file with a million mistakes costs a million comparisons.
 */
#include "config_read.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_BYTES 64
#define ERROR_TEXT_MAX 1024
#define MUST_MAX 512
#define DURATION_DIGITS_MAX 12 /* times the milliseconds of an hour still fits 64 bits */

void reader_scope(struct reader *r, const char *object)
{
	snprintf(r->scope, sizeof(r->scope), "%s%s", object ? object : "", object ? ": " : "");
}

void reader_scope_app(struct reader *r, const char *name, size_t index)
{
	char shown[QUOTED_MAX];

	if (name)
		snprintf(r->scope, sizeof(r->scope), "app %s: ", quoted(shown, name));
	else
		snprintf(r->scope, sizeof(r->scope), "app %zu: ", index + 1);
}

static bool comes_before(struct json_pos at, const struct config_error *e)
{
	return at.line < e->line || (at.line == e->line && at.column < e->column);
}

/* Would what is at this place be among what is kept? */
static bool would_keep(const struct config_errors *e, struct json_pos at)
{
	return e->n < CONFIG_ERRORS_MAX || comes_before(at, &e->list[e->n - 1]);
}

static void add(const struct reader *r, struct config_errors *e, struct json_pos at,
		const char *fmt, va_list args)
{
	char text[ERROR_TEXT_MAX];
	size_t place, len;

	e->total++;
	if (!would_keep(e, at))
		return;
	len = (size_t)snprintf(text, sizeof(text), "%s", r->scope);
	vsnprintf(text + len, sizeof(text) - len, fmt, args);

	if (e->n == CONFIG_ERRORS_MAX)
		free(e->list[--e->n].text);
	for (place = e->n; place > 0 && comes_before(at, &e->list[place - 1]); place--)
		e->list[place] = e->list[place - 1];
	e->list[place] = (struct config_error){ at.line, at.column, xstrdup(text) };
	e->n++;
}

void reader_fail(struct reader *r, struct json_pos at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(r, r->errors, at, fmt, args);
	va_end(args);
}

void reader_note(const struct reader *r, struct config_errors *notes, struct json_pos at,
		 const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(r, notes, at, fmt, args);
	va_end(args);
}

/* Of the C1 controls (U+0080 to U+009F), which terminals obey too, the first byte is 0xc2. */
bool control_char(const char *s)
{
	unsigned char c = (unsigned char)s[0];

	return c < ' ' || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/*
 * Zero-width spaces, the marks, embeddings, overrides and isolates of bidirectional text, and the
 * separators of lines and paragraphs. U+200C and U+200D are not among them: scripts and emoji are
 * written with them.
 */
bool unseen_char(const char *s)
{
	static const char *const unseen[] = {
		"\u061c", "\u200b", "\u200e", "\u200f", "\u2028", "\u2029",
		"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2060",
		"\u2066", "\u2067", "\u2068", "\u2069", "\ufeff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(unseen); i++)
		if (!strncmp(s, unseen[i], strlen(unseen[i])))
			return true;
	return false;
}

const char *quoted(char buf[QUOTED_MAX], const char *text)
{
	size_t left = strlen(text), n, out = 0;
	const char *end = text + QUOTED_BYTES;

	buf[out++] = '"';
	for (; left && text < end; text += n, left -= n) {
		n = MAX(utf8_char_len(text, left), 1u);
		if (text + n > end)
			break;
		if (control_char(text) || unseen_char(text)) {
			for (size_t i = 0; i < n; i++)
				out += (size_t)sprintf(buf + out, "\\x%02x",
						       (unsigned char)text[i]);
		} else {
			memcpy(buf + out, text, n);
			out += n;
		}
	}
	snprintf(buf + out, QUOTED_MAX - out, left ? "...\"" : "\"");
	return buf;
}

const char *quoted_name(char buf[QUOTED_MAX], const char *name)
{
	return name ? quoted(buf, name) : "without a name";
}

void reader_reject(struct reader *r, const struct json *v, const char *what, int right_type,
		   const char *must)
{
	char shown[QUOTED_MAX];

	if (!would_keep(r->errors, v->at) || (v->item->type & 0xff) != right_type)
		snprintf(shown, sizeof(shown), "%s", json_type_name(v));
	else if (right_type == cJSON_String)
		quoted(shown, v->item->valuestring);
	else if (right_type == cJSON_Number)
		snprintf(shown, sizeof(shown), "%.15g", v->item->valuedouble);
	else
		snprintf(shown, sizeof(shown), "empty");
	reader_fail(r, v->at, "%s is %s, must be %s", what, shown, must);
}

bool reader_type(struct reader *r, const struct json *v, const char *what, int right_type,
		 const char *must)
{
	if ((v->item->type & 0xff) == right_type)
		return true;
	reader_reject(r, v, what, right_type, must);
	return false;
}

bool reader_plain(struct reader *r, const struct json *v, const char *what)
{
	for (const char *c = v->item->valuestring; *c; c++) {
		if (control_char(c)) {
			reader_reject(r, v, what, cJSON_String, "without control characters");
			return false;
		}
	}
	return true;
}

bool reader_filled_array(struct reader *r, const struct key *key, const struct json *v)
{
	if (cJSON_IsArray(v->item) && v->span > 1)
		return true;
	reader_reject(r, v, key->name, cJSON_Array, key->must);
	return false;
}

/* "a, b, c", cut off if it would not fit. Returns buf. */
static const char *join(char *buf, size_t size, const char *const *names, size_t n)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? ", " : "", names[i]);
	return buf;
}

static void unknown_key(struct reader *r, const struct object_kind *kind, const struct json *v)
{
	const char *names[OBJECT_KEYS_MAX], *near;
	char name[QUOTED_MAX], list[MUST_MAX];

	if (!would_keep(r->errors, v->key_at)) {
		r->errors->total++;
		return;
	}
	for (size_t i = 0; i < kind->n_keys; i++)
		names[i] = kind->keys[i].name;
	quoted(name, v->item->string);
	near = nearest_name(v->item->string, names, kind->n_keys);
	if (near)
		reader_fail(r, v->key_at, "%s is no key here, did you mean \"%s\"?", name, near);
	else
		reader_fail(r, v->key_at, "%s is no key here, must be one of: %s", name,
			    join(list, sizeof(list), names, kind->n_keys));
}

static const struct key *find_key(const struct object_kind *kind, const char *name)
{
	for (size_t i = 0; i < kind->n_keys; i++) {
		if (!strcmp(kind->keys[i].name, name))
			return &kind->keys[i];
	}
	return NULL;
}

void read_object(struct reader *r, const struct json *v, const struct object_kind *kind,
		 void *object)
{
	struct json_pos first[OBJECT_KEYS_MAX] = { 0 };

	json_for_each(member, v) {
		const struct key *key = find_key(kind, member->item->string);
		struct json_pos *seen = key ? &first[key - kind->keys] : NULL;

		if (!key) {
			unknown_key(r, kind, member);
		} else if (seen->line) {
			reader_fail(r, member->key_at,
				    "%s is given twice (first in line %u), must be given once",
				    key->name, seen->line);
		} else {
			*seen = member->key_at;
			key->read(r, key, member, (char *)object + key->offset);
		}
	}
	for (size_t i = 0; i < kind->n_keys; i++) {
		if (kind->keys[i].required && !first[i].line)
			reader_fail(r, v->at, "%s is missing, must be %s", kind->keys[i].name,
				    kind->keys[i].must);
	}
}

void read_bool(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	if (cJSON_IsBool(v->item))
		*(bool *)field = cJSON_IsTrue(v->item);
	else
		reader_reject(r, v, key->name, cJSON_True, "true or false");
}

void read_uint(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	double value = v->item->valuedouble;
	char must[MUST_MAX];

	if (cJSON_IsNumber(v->item) && value >= key->min && value <= key->max &&
	    value == (double)(uint32_t)value) {
		*(uint32_t *)field = (uint32_t)value;
		return;
	}
	snprintf(must, sizeof(must), "a whole number from %u to %u", key->min, key->max);
	reader_reject(r, v, key->name, cJSON_Number, must);
}

/* NUMBER UNIT, such as "1.5s", or "0". False, too, when it is no whole number of milliseconds. */
static bool duration_parse(const char *s, uint64_t *ms)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 } };
	uint64_t number = 0, scale = 1; /* the value is number / scale */
	bool point = false;
	size_t digits = 0;

	*ms = 0;
	if (!strcmp(s, "0"))
		return true;
	for (; isdigit((unsigned char)*s) || (*s == '.' && digits && !point); s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		if (++digits > DURATION_DIGITS_MAX)
			return false;
		number = number * 10 + (uint64_t)(*s - '0');
		scale *= point ? 10 : 1;
	}
	if (!digits || s[-1] == '.')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(s, units[i].name))
			continue;
		*ms = number * units[i].ms / scale;
		return number * units[i].ms % scale == 0;
	}
	return false;
}

/* A bound of a duration in the largest unit that divides it. Returns buf. */
static const char *duration_format(char buf[16], uint32_t ms)
{
	if (ms % (3600 * 1000) == 0)
		snprintf(buf, 16, "%uh", ms / (3600 * 1000));
	else if (ms % 1000 == 0)
		snprintf(buf, 16, "%us", ms / 1000);
	else
		snprintf(buf, 16, "%ums", ms);
	return buf;
}

#define DURATION_MUST "a string such as \"250ms\", \"2s\" or \"1.5h\" in whole milliseconds"

void read_duration(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	char must[MUST_MAX], min[16], max[16];
	uint64_t ms;

	if (cJSON_IsString(v->item) && duration_parse(v->item->valuestring, &ms) &&
	    ms >= key->min && ms <= key->max) {
		*(uint32_t *)field = (uint32_t)ms;
		return;
	}
	duration_format(max, key->max);
	if (key->min)
		snprintf(must, sizeof(must), DURATION_MUST ", from \"%s\" to \"%s\"",
			 duration_format(min, key->min), max);
	else
		snprintf(must, sizeof(must), DURATION_MUST ", at most \"%s\", or \"0\" for none",
			 max);
	reader_reject(r, v, key->name, cJSON_String, must);
}

/* The one of `names` that v is, or NULL after an error. */
static const char *const *pick(struct reader *r, const struct key *key, const struct json *v,
			       const char *const *names, size_t n)
{
	bool is_string = cJSON_IsString(v->item);
	char must[MUST_MAX], list[MUST_MAX / 2];
	const char *near = NULL;

	for (size_t i = 0; is_string && i < n; i++) {
		if (!strcmp(v->item->valuestring, names[i]))
			return &names[i];
	}
	if (is_string && would_keep(r->errors, v->at))
		near = nearest_name(v->item->valuestring, names, n);
	snprintf(must, sizeof(must), "one of: %s%s%s%s", join(list, sizeof(list), names, n),
		 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	reader_reject(r, v, key->name, cJSON_String, must);
	return NULL;
}

static void take_path(struct reader *r, const struct key *key, const struct json *v, char **path,
		      const char *must, bool may_be_none)
{
	const char *text;

	if (!reader_type(r, v, key->name, cJSON_String, must))
		return;
	text = v->item->valuestring;
	if ((*text != '/' && (*text || !may_be_none)) || strlen(text) > key->max) {
		reader_reject(r, v, key->name, cJSON_String, must);
		return;
	}
	if (!reader_plain(r, v, key->name))
		return;
	free(*path);
	*path = xstrdup(text);
}

void read_path(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	char must[MUST_MAX];

	snprintf(must, sizeof(must), "an absolute path of at most %u bytes", key->max);
	take_path(r, key, v, field, must, false);
}

void read_path_or_none(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	take_path(r, key, v, field, key->must, true);
}

void read_enum(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	const char *const *name = pick(r, key, v, key->names, key->n_names);

	if (name)
		*(unsigned int *)field = (unsigned int)(name - key->names);
}

void read_balancer(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	const char *const *name = pick(r, key, v, r->words->balancers, r->words->n_balancers);

	if (name)
		*(const char **)field = *name;
}

void read_engine(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	const char *const *name = pick(r, key, v, r->words->engines, r->words->n_engines);

	if (name)
		*(const char **)field = *name;
}

static int mention_order(const void *va, const void *vb)
{
	const struct mention *a = va, *b = vb;
	int order = strcmp(a->text, b->text);

	if (order)
		return order;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	return (a->at.column > b->at.column) - (a->at.column < b->at.column);
}

void reader_refuse_repeats(struct reader *r, struct mention *list, size_t n, const char *what)
{
	const struct mention *first = list;
	char shown[QUOTED_MAX];

	if (n)
		qsort(list, n, sizeof(*list), mention_order);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(list[i].text, first->text))
			first = &list[i];
		else
			reader_fail(r, list[i].at,
				    "%s %s is given twice (first in line %u), must be given once",
				    what, quoted(shown, first->text), first->at.line);
	}
	for (size_t i = 0; i < n; i++)
		free(list[i].text);
	free(list);
}
