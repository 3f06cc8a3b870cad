/* SPDX-License-Identifier: MIT */
/*
 * JSON with positions. cJSON decodes the text and builds the tree, but keeps no positions and
 * forgives what a config must not; so one scan before it checks the grammar, bounds depth and size,
 * and notes where each key and value starts. The result is the tree as one flat array in the order
 * of the text: a value, then its subtree.
 */
#ifndef SHUNT_CONFIG_JSON_H
#define SHUNT_CONFIG_JSON_H

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "util.h"

#define JSON_VALUES_MAX 500000 /* some 100 bytes each, several hundred if it is a target */
#define JSON_ERROR_MAX 256

struct json_pos {
	unsigned int line, column; /* from 1, columns in characters; 0: the text as a whole */
};

struct json {
	const cJSON *item;
	struct json_pos at;
	struct json_pos key_at; /* of a member of an object */
	uint32_t span;          /* values in this subtree, itself included */
};

struct json_doc {
	cJSON *tree;
	struct json *values; /* values[0] is the document's one value */
};

struct json_error {
	struct json_pos at;
	char text[JSON_ERROR_MAX]; /* what is wrong, what would be right */
};

/* The members or elements of a value, in the order of the text. */
#define json_for_each(child, parent)                                                               \
	for (const struct json *child = (parent) + 1; child < (parent) + (parent)->span;           \
	     child += child->span)

/* 0 with *doc to be given to json_free(), or -EINVAL with *error filled in and nothing to free. */
int json_parse(const char *text, size_t len, struct json_doc *doc,
	       struct json_error *error) must_check;
void json_free(struct json_doc *doc); /* takes one that was never filled in (all 0), too */

/* The member of that name, the first if there are several; NULL: there is none, or no object. */
const struct json *json_member(const struct json *object, const char *name);

/* "a string", "an array": what kind of value it is, for messages. */
const char *json_type_name(const struct json *v);

/* The length of the UTF-8 character at s of which `left` bytes are there; 0 when it is none. */
size_t utf8_char_len(const char *s, size_t left);

#endif
