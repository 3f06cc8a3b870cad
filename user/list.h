/* SPDX-License-Identifier: MIT */
/*
 * An intrusive, circular, doubly linked list. An element that is in no list is initialised (points
 * at itself), so list_del() may be called on it again: objects can be taken off without asking
 * first.
 */
#ifndef SHUNT_LIST_H
#define SHUNT_LIST_H

#include <stdbool.h>

#include "util.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_del(struct list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	list_init(e);
}

/* Both take an element that is in no list. */
static inline void list_push(struct list *head, struct list *e)
{
	e->next = head->next;
	e->prev = head;
	head->next->prev = e;
	head->next = e;
}

static inline void list_append(struct list *head, struct list *e)
{
	list_push(head->prev, e);
}

/* Moves all elements of `from` to the empty list `to`. */
static inline void list_take(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

#define list_entry(e, type, member) container_of(e, type, member)

#define list_for_each(e, head) for (struct list *e = (head)->next; e != (head); e = e->next)

/* The current element may be deleted. */
#define list_for_each_safe(e, head)                                                                \
	for (struct list *e = (head)->next, *e##_next = e->next; e != (head);                      \
	     e = e##_next, e##_next = e->next)

#endif
