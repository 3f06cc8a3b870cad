/* SPDX-License-Identifier: MIT */
/*
 * Both ends of a trial (trial.h), as the probes of engines play them: each sends a stream that the
 * other one checks. What goes wrong is found, in the words of the report, by whoever meets it.
 */
#ifndef SHUNT_PROBE_ENDS_H
#define SHUNT_PROBE_ENDS_H

#include "probe_check.h"
#include "trial.h"

struct probe_ends {
	struct trial trial;
	struct probe_patience patience;
	size_t sent[2], received[2];
	struct probe_result *result; /* of the check that runs */
};

void probe_ends_init(struct probe_ends *e);
/* Closes the trial, if there is one; another may then be opened. */
void probe_ends_close(struct probe_ends *e);

/* These return 0, or -errno and found. A new trial, for the check with this result: */
int probe_ends_open(struct probe_ends *e, struct probe_result *r,
		    const struct trial_conf *conf) must_check;
/* A turn of the relay. */
int probe_ends_turn(struct probe_ends *e, int wait_ms) must_check;
/* Sends till `total`, and lets a reader that takes little at a time have it. */
int probe_ends_relay(struct probe_ends *e, int from, size_t total, size_t read_size) must_check;
/* `first` ends its stream, then the other one sends till `total` and ends his. */
int probe_ends_half_close(struct probe_ends *e, int first, size_t total) must_check;
/* The client sends to a reader that has stopped, until it can't. */
int probe_ends_stop(struct probe_ends *e) must_check;

/* Sends more, without waiting, at most len bytes. How many; 0: the socket is full. */
size_t probe_ends_send(struct probe_ends *e, int from, size_t len);
/* The backend closes its socket. Was that seen as a reset, in so many turns at the most? */
bool probe_ends_see_reset(struct probe_ends *e, int turns);

#endif
