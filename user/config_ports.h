/* SPDX-License-Identifier: MIT */
/*
 * Which app has which port of which address, and which unix socket. Ports are read as ranges,
 * refused when an app names one twice, expanded when the app's addresses are known, and compared
 * across apps when all are read; who listens at an address is then a binary search. The work is
 * bounded by CONFIG_LISTENERS_MAX, whatever the file says.
 */
#ifndef SHUNT_CONFIG_PORTS_H
#define SHUNT_CONFIG_PORTS_H

#include "config_read.h"

/* Ports times addresses, in all apps: the kernel's default limit of descriptors (fs.nr_open). */
#define CONFIG_LISTENERS_MAX (1u << 20)

struct port_book;

struct port_book *port_book_new(void) must_check;
void port_book_free(struct port_book *b); /* takes NULL */

/* Takes the value of the app's Ports, or complains. Apps are numbered from 0, in order. */
void port_book_read(struct port_book *b, struct reader *r, uint32_t app, const struct json *v,
		    const struct key *key);
/*
 * Fills in conf->ports and claims them on each of conf->listen, and conf->sockets, both of which
 * must stay where they are until port_book_compare(). `at` is where the app stands.
 */
void port_book_claim(struct port_book *b, struct reader *r, uint32_t app, struct app_conf *conf,
		     struct json_pos at);
/* Complains of each range, and each unix socket, that claims what an app before it has. Sets the
 * reader's scope. */
void port_book_compare(struct port_book *b, struct reader *r, const struct app_conf *apps);
/* An app that listens somewhere, and where its ports, or it itself if it is on a socket, stand. */
struct port_holder {
	struct json_pos at;
	uint32_t app;
};

/*
 * After port_book_compare(): who accepts what is connected to this address, as far as the file
 * alone can tell. Which addresses the host has is not known, but for those of the loopback: a
 * wildcard is reached by them, and by none else.
 */
bool port_book_reached(const struct port_book *b, const struct addr *at,
		       struct port_holder *holder);
/* Who is in the way of a listener at this address: the first who has it, too. */
bool port_book_taken(const struct port_book *b, const struct addr *at, struct port_holder *holder);

#endif
