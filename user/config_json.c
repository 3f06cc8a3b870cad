/* SPDX-License-Identifier: MIT */
/*
 * The scan is a loop over tokens with one state, what is wanted next, and a stack of the brackets
 * that are open. It holds the text to RFC 8259, so that cJSON, which forgives much, never has to
 * forgive; halves of surrogate pairs alone are left for it to find. The first error ends the scan:
 * after a slip in the grammar everything that follows would be a guess.
 */
#include "config_json.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config.h"

#define NUMBER_MAX_CHARS 63 /* cJSON reads no more of a number */
#define WORD_SHOWN_CHARS 32 /* of a word in a message */
#define VALUES_FIRST 64
#define UTF8_BOM "\xef\xbb\xbf"

enum want {
	WANT_VALUE,
	WANT_VALUE_OR_CLOSE,
	WANT_KEY,
	WANT_KEY_OR_CLOSE,
	WANT_COLON,
	WANT_COMMA_OR_CLOSE,
	WANT_END,
};

/* Punctuation is its own token; so is any character that cannot start one. */
enum { TOKEN_END = 0, TOKEN_STRING = '"', TOKEN_WORD = 'w' };

struct token {
	char kind;
	size_t start, len; /* in bytes */
	struct json_pos at;
};

struct scanner {
	const char *text;
	size_t len;
	struct token token, previous;
	enum want want;
	struct json_pos key_at; /* of the key whose value is wanted */
	struct {
		char bracket;
		uint32_t value; /* its index */
	} open[CONFIG_DEPTH_MAX];
	size_t depth;
	struct json *values;
	uint32_t n_values, values_cap;
	struct json_error *error;
};

size_t utf8_char_len(const char *s, size_t left)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n;

	if (left && u[0] < 0x80)
		return 1;
	if (!left || u[0] < 0xc2 || u[0] > 0xf4)
		return 0;
	n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Too long a form, a surrogate, or past U+10FFFF: Table 3-7 of the Unicode standard. */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return n;
}

const struct json *json_member(const struct json *object, const char *name)
{
	if (!cJSON_IsObject(object->item))
		return NULL;
	json_for_each(member, object) {
		if (!strcmp(member->item->string, name))
			return member;
	}
	return NULL;
}

const char *json_type_name(const struct json *v)
{
	switch (v->item->type & 0xff) {
	case cJSON_False:
	case cJSON_True:
		return "a boolean";
	case cJSON_Number:
		return "a number";
	case cJSON_String:
		return "a string";
	case cJSON_Array:
		return "an array";
	case cJSON_Object:
		return "an object";
	default:
		return "null";
	}
}

static struct json_pos position_after(struct json_pos at, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n') {
			at.line++;
			at.column = 1;
		} else if ((text[i] & 0xc0) != 0x80) {
			at.column++;
		}
	}
	return at;
}

static struct json_pos position_of(const char *text, size_t offset)
{
	return position_after((struct json_pos){ 1, 1 }, text, offset);
}

static int printf_like(3, 4)
	complain(struct json_error *e, struct json_pos at, const char *fmt, ...)
{
	va_list args;

	e->at = at;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return -EINVAL;
}

static bool wants_value(const struct scanner *s)
{
	return s->want == WANT_VALUE || s->want == WANT_VALUE_OR_CLOSE;
}

static bool wants_key(const struct scanner *s)
{
	return s->want == WANT_KEY || s->want == WANT_KEY_OR_CLOSE;
}

static bool wants_close(const struct scanner *s)
{
	return s->want == WANT_VALUE_OR_CLOSE || s->want == WANT_KEY_OR_CLOSE ||
	       s->want == WANT_COMMA_OR_CLOSE;
}

/* The bracket that the next token stands in, or 0. */
static char open_bracket(const struct scanner *s)
{
	return s->depth ? s->open[s->depth - 1].bracket : 0;
}

static unsigned int open_line(const struct scanner *s)
{
	return s->values[s->open[s->depth - 1].value].at.line;
}

static char closing(char bracket)
{
	return bracket == '{' ? '}' : ']';
}

static bool is_closing(char kind)
{
	return kind == '}' || kind == ']';
}

/* What is wanted instead of a token, for which no better guess was made. */
static const char *wanted(const struct scanner *s)
{
	switch (s->want) {
	case WANT_VALUE:
		return "a value";
	case WANT_VALUE_OR_CLOSE:
		return "a value or ']'";
	case WANT_KEY:
		return "a key in double quotes";
	case WANT_KEY_OR_CLOSE:
		return "a key in double quotes or '}'";
	case WANT_COLON:
		return "the ':' after a key";
	case WANT_COMMA_OR_CLOSE:
		return open_bracket(s) == '{' ? "',' or '}'" : "',' or ']'";
	default:
		return "the end of the text";
	}
}

/* The usual slips first, each in its own words. */
static int unexpected(struct scanner *s)
{
	const struct token *t = &s->token;
	bool starts_value = t->kind && strchr("{[\"w", t->kind);

	if (t->kind == '\'')
		return complain(s->error, t->at, "a single quote, must be a double quote");
	if (t->kind == '/' || t->kind == '#')
		return complain(s->error, t->at, "a comment, must be left out: JSON has none");
	if (is_closing(t->kind) && s->previous.kind == ',')
		return complain(s->error, s->previous.at, "a comma before '%c', must be left out",
				t->kind);
	if (starts_value && s->want == WANT_COMMA_OR_CLOSE)
		return complain(s->error, t->at,
				"a comma is missing before this, or '%c' after what precedes it",
				closing(open_bracket(s)));
	if (t->kind == ':' && open_bracket(s) == '[')
		return complain(s->error, t->at,
				"a ':' in an array: is the '[' of line %u not closed?",
				open_line(s));
	if (t->kind == TOKEN_WORD && wants_key(s))
		return complain(s->error, t->at, "a key without quotes, must be in double quotes");
	if (s->want == WANT_END)
		return complain(s->error, t->at,
				"more text after the end of the document, must be left out");
	if (t->kind == TOKEN_STRING || t->kind == TOKEN_WORD)
		return complain(s->error, t->at, "a %s, must be %s",
				t->kind == TOKEN_STRING ? "string" : "word", wanted(s));
	if (t->kind > ' ' && t->kind < 0x7f)
		return complain(s->error, t->at, "'%c', must be %s", t->kind, wanted(s));
	return complain(s->error, t->at, "a character that is no JSON, must be %s", wanted(s));
}

static int at_end(struct scanner *s)
{
	const struct token *t = &s->token;

	if (s->want == WANT_END)
		return 0;
	if (s->depth)
		return complain(s->error, t->at,
				"the text ends here, but the '%c' of line %u is not closed",
				open_bracket(s), open_line(s));
	return complain(s->error, (struct json_pos){ 0, 0 }, "is empty, must hold a JSON object");
}

static int value_add(struct scanner *s)
{
	if (!wants_value(s))
		return unexpected(s);
	if (s->n_values == JSON_VALUES_MAX)
		return complain(s->error, s->token.at, "more than %d values, must be fewer",
				JSON_VALUES_MAX);
	if (s->n_values == s->values_cap) {
		s->values_cap *= 2;
		s->values = xreallocarray(s->values, s->values_cap, sizeof(*s->values));
	}
	s->values[s->n_values++] = (struct json){
		.at = s->token.at,
		.key_at = s->key_at,
		.span = 1,
	};
	s->want = s->depth ? WANT_COMMA_OR_CLOSE : WANT_END;
	return 0;
}

static int bracket_open(struct scanner *s)
{
	char bracket = s->token.kind;
	int r = value_add(s);

	if (r)
		return r;
	if (s->depth == CONFIG_DEPTH_MAX)
		return complain(s->error, s->token.at,
				"nested deeper than %d levels, must be flatter", CONFIG_DEPTH_MAX);
	s->open[s->depth].bracket = bracket;
	s->open[s->depth++].value = s->n_values - 1;
	s->want = bracket == '{' ? WANT_KEY_OR_CLOSE : WANT_VALUE_OR_CLOSE;
	return 0;
}

static int bracket_close(struct scanner *s)
{
	char bracket = open_bracket(s);
	uint32_t value;

	if (bracket && s->token.kind != closing(bracket))
		return complain(s->error, s->token.at,
				"'%c' while the '%c' of line %u is open, must be '%c'",
				s->token.kind, bracket, open_line(s), closing(bracket));
	if (!wants_close(s) || !bracket)
		return unexpected(s);
	value = s->open[--s->depth].value;
	s->values[value].span = s->n_values - value;
	s->want = s->depth ? WANT_COMMA_OR_CLOSE : WANT_END;
	return 0;
}

static bool skip_digits(const char *s, size_t n, size_t *i)
{
	size_t start = *i;

	while (*i < n && isdigit((unsigned char)s[*i]))
		(*i)++;
	return *i > start;
}

/* The grammar of RFC 8259, section 6: cJSON would take 0800, 1. and others. */
static bool is_number(const char *s, size_t n)
{
	size_t i = n && s[0] == '-';

	if (n > NUMBER_MAX_CHARS)
		return false;
	if (i < n && s[i] == '0')
		i++;
	else if (!skip_digits(s, n, &i))
		return false;
	if (i < n && s[i] == '.') {
		i++;
		if (!skip_digits(s, n, &i))
			return false;
	}
	if (i < n && (s[i] == 'e' || s[i] == 'E')) {
		i++;
		if (i < n && (s[i] == '+' || s[i] == '-'))
			i++;
		if (!skip_digits(s, n, &i))
			return false;
	}
	return i == n;
}

static int word(struct scanner *s)
{
	static const char *const literals[] = { "true", "false", "null" };
	const char *text = s->text + s->token.start;
	size_t n = s->token.len;

	if (!wants_value(s))
		return unexpected(s);
	for (size_t i = 0; i < ARRAY_SIZE(literals); i++) {
		if (n != strlen(literals[i]) || strncasecmp(text, literals[i], n))
			continue;
		if (strncmp(text, literals[i], n))
			return complain(s->error, s->token.at, "%.*s, must be %s", (int)n, text,
					literals[i]);
		return value_add(s);
	}
	if (!is_number(text, n))
		return complain(
			s->error, s->token.at,
			"%.*s is no JSON value, must be true, false, null, a number without "
			"leading zeros, or a string in double quotes",
			(int)MIN(n, WORD_SHOWN_CHARS), text);
	return value_add(s);
}

/* An invalid \u, and a valid one of NUL, would cut the string short in cJSON's tree, unnoticed. */
static int check_escape(struct scanner *s, size_t at)
{
	const char *escape = s->text + at + 1;
	size_t left = s->len - at - 1, digits = 0;

	if (!left || (*escape && strchr("\"\\/bfnrt", *escape)))
		return 0;
	while (*escape == 'u' && digits < 4 && digits + 1 < left &&
	       isxdigit((unsigned char)escape[digits + 1]))
		digits++;
	if (digits < 4)
		return complain(
			s->error, position_of(s->text, at),
			"a bad escape, must be one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
	if (!memcmp(escape, "u0000", 5))
		return complain(s->error, position_of(s->text, at),
				"a NUL in a string, must be left out");
	return 0;
}

/* Finds the closing quote. */
static int read_string(struct scanner *s)
{
	struct token *t = &s->token;
	size_t i = t->start + 1;

	for (; i < s->len && !strchr("\"\r\n", s->text[i]); i++) {
		if ((unsigned char)s->text[i] < ' ')
			return complain(
				s->error, position_of(s->text, i),
				"a control character in a string, must be written as \\u%04x",
				(unsigned int)s->text[i]);
		if (s->text[i] != '\\')
			continue;
		if (check_escape(s, i))
			return -EINVAL;
		i++;
	}
	if (i >= s->len || s->text[i] != '"')
		return complain(s->error, t->at, "a string without a closing quote on its line");
	t->len = i + 1 - t->start;
	return 0;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("+-._", c));
}

static int token_next(struct scanner *s)
{
	struct token *t = &s->token;
	size_t i = t->start + t->len;

	s->previous = *t;
	while (i < s->len && strchr(" \t\r\n", s->text[i]))
		i++;
	t->at = position_after(t->at, s->text + t->start, i - t->start);
	t->start = i;
	t->len = 0;
	t->kind = TOKEN_END;
	if (i == s->len)
		return 0;
	t->kind = s->text[i];
	if (t->kind == TOKEN_STRING)
		return read_string(s);
	if (!in_word(t->kind)) {
		t->len = 1;
		return 0;
	}
	t->kind = TOKEN_WORD;
	while (i < s->len && in_word(s->text[i]))
		i++;
	t->len = i - t->start;
	return 0;
}

static int token_take(struct scanner *s)
{
	switch (s->token.kind) {
	case '{':
	case '[':
		return bracket_open(s);
	case '}':
	case ']':
		return bracket_close(s);
	case ',':
		if (s->want != WANT_COMMA_OR_CLOSE)
			return unexpected(s);
		s->want = open_bracket(s) == '{' ? WANT_KEY : WANT_VALUE;
		return 0;
	case ':':
		if (s->want != WANT_COLON)
			return unexpected(s);
		s->want = WANT_VALUE;
		return 0;
	case TOKEN_STRING:
		if (!wants_key(s))
			return value_add(s);
		s->key_at = s->token.at;
		s->want = WANT_COLON;
		return 0;
	case TOKEN_WORD:
		return word(s);
	default:
		return unexpected(s);
	}
}

static int scan(struct scanner *s)
{
	int r;

	do {
		r = token_next(s);
		if (!r)
			r = s->token.kind == TOKEN_END ? at_end(s) : token_take(s);
	} while (!r && s->token.kind != TOKEN_END);
	return r;
}

static int check_characters(const char *text, size_t len, struct json_error *e)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_char_len(text + i, len - i);
		if (!n)
			return complain(e, position_of(text, i),
					"a byte that is no UTF-8, must be UTF-8 text");
		if (!text[i])
			return complain(e, position_of(text, i), "a NUL byte, must be UTF-8 text");
	}
	return 0;
}

/* Both are in the order of the text. Returns the value after the item's subtree. */
static struct json *attach(const cJSON *item, struct json *v)
{
	struct json *next = v + 1;

	v->item = item;
	for (const cJSON *child = item->child; child; child = child->next)
		next = attach(child, next);
	assert(next == v + v->span);
	return next;
}

int json_parse(const char *text, size_t len, struct json_doc *doc, struct json_error *error)
{
	struct scanner s = { .token.at = { 1, 1 }, .error = error };
	const char *stopped = text;
	int r;

	if (len >= strlen(UTF8_BOM) && !memcmp(text, UTF8_BOM, strlen(UTF8_BOM))) {
		text += strlen(UTF8_BOM);
		len -= strlen(UTF8_BOM);
	}
	s.text = text;
	s.len = len;
	s.values_cap = VALUES_FIRST;
	s.values = xcalloc(s.values_cap, sizeof(*s.values));
	r = check_characters(text, len, error);
	if (!r)
		r = scan(&s);
	if (r)
		goto fail;
	doc->tree = cJSON_ParseWithLengthOpts(text, len, &stopped, false);
	if (!doc->tree) {
		r = complain(error, position_of(text, (size_t)(stopped - text)),
			     "half of a surrogate pair (\\ud800 to \\udfff), must be a whole one");
		goto fail;
	}
	doc->values = s.values;
	attach(doc->tree, doc->values);
	return 0;
fail:
	free(s.values);
	return r;
}

void json_free(struct json_doc *doc)
{
	cJSON_Delete(doc->tree);
	free(doc->values);
	*doc = (struct json_doc){ 0 };
}
