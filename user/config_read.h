/* SPDX-License-Identifier: MIT */
/*
 * From JSON values to C fields: the part of the configuration that knows no key. An object is
 * described by a table with one row a key; a row's reader checks the value and stores it at the
 * row's offset. What is wrong is added to the reader's errors, in the order of the text, and
 * reading goes on: fields that were refused keep what they held.
 */
#ifndef SHUNT_CONFIG_READ_H
#define SHUNT_CONFIG_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "config_json.h"

#define DURATION_MAX_MS (24u * 24 * 3600 * 1000) /* 24 days: fits poll(2)'s signed milliseconds */
#define QUOTED_MAX 260 /* 64 bytes, each as \xNN at worst, and the quotes */
#define OBJECT_KEYS_MAX 32

struct reader {
	const struct config_vocabulary *words;
	struct config_errors *errors;
	char scope[QUOTED_MAX + 16]; /* what each error's text begins with: `app "x": ` */
};

struct key;
typedef void key_reader(struct reader *r, const struct key *key, const struct json *v, void *field);

struct key {
	const char *name;
	key_reader *read;
	size_t offset;     /* of the field in its object */
	const char *must;  /* "an array of ...": what the value must be; NULL: the reader says it */
	uint32_t min, max; /* of a number, or of a duration in milliseconds */
	const char *const *names; /* of an enum, by its values */
	size_t n_names;
	bool required;
	bool live; /* of the daemon's keys: a reload changes it; others need a restart */
};

struct object_kind {
	const char *name; /* as config_each_key() gives it */
	const struct key *keys;
	size_t n_keys;
};

/* All of them: config.c has the tables. */
extern const struct object_kind *const config_kinds[];
extern const size_t n_config_kinds;
/* The keys of an object in an app whose fields are the app's own; NULL: that key's value is none. */
const struct object_kind *config_app_section(const char *key);

/* What errors are about from now on: "Log: ", or nothing with NULL; `app "x": ` or "app 3: ". */
void reader_scope(struct reader *r, const char *object);
void reader_scope_app(struct reader *r, const char *name, size_t index);
void reader_fail(struct reader *r, struct json_pos at, const char *fmt, ...) printf_like(3, 4);
/* The same for what is no error, in a list of its own. */
void reader_note(const struct reader *r, struct config_errors *notes, struct json_pos at,
		 const char *fmt, ...) printf_like(4, 5);
/* Fails with `what is VALUE, must be MUST`; of a value of the wrong type only the type is shown. */
void reader_reject(struct reader *r, const struct json *v, const char *what, int right_type,
		   const char *must);
/* Rejects what is not of the type (cJSON_String, ...). */
bool reader_type(struct reader *r, const struct json *v, const char *what, int right_type,
		 const char *must) must_check;

/* Rejects a text with a control character. */
bool reader_plain(struct reader *r, const struct json *v, const char *what) must_check;

/* Rejects what is no array with something in it. */
bool reader_filled_array(struct reader *r, const struct key *key, const struct json *v) must_check;

/* A text from the file in quotes, made fit for a terminal and for one line. Returns buf. */
const char *quoted(char buf[QUOTED_MAX], const char *text);
/* An app's name, quoted, or that it has none (NULL). */
const char *quoted_name(char buf[QUOTED_MAX], const char *name);
/* Is the first character of a valid UTF-8 text a control character? */
bool control_char(const char *s);
/* What is not seen, or has what is around it seen in another order: no part of a name. */
bool unseen_char(const char *s);

/* Reads the members of an object: unknown, repeated and missing keys are errors. */
void read_object(struct reader *r, const struct json *v, const struct object_kind *kind,
		 void *object);

/* Readers for rows; the field is what the comment says. */
key_reader read_bool;         /* bool */
key_reader read_uint;         /* uint32_t in [min, max] */
key_reader read_duration;     /* uint32_t of milliseconds in [min, max]; "0" if min is 0 */
key_reader read_path;         /* char *, owned: an absolute path of at most max bytes */
key_reader read_path_or_none; /* the same, or ""; with a must */
key_reader read_enum;         /* unsigned int, or an enum without negative values */
key_reader read_balancer;     /* const char *, of the vocabulary */
key_reader read_engine;       /* const char *, of the vocabulary */

/* Something of which there may be only one of its text, and where. */
struct mention {
	char *text; /* owned */
	struct json_pos at;
};

/* Fails for each that was mentioned before. Sorts the list and frees it. */
void reader_refuse_repeats(struct reader *r, struct mention *list, size_t n, const char *what);

#endif
