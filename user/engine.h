/* SPDX-License-Identifier: MIT */
/*
 * What moves the bytes. A relay is two sides (sockets) and two directions between them; each
 * direction is served by an engine, a const table of functions, and a session never knows by which
 * one.
 *
 * Readiness is edge-triggered: `readable` and `writable` are what the last edge and the last call
 * said, so an engine makes no call that is known to return EAGAIN, and the steady path needs no
 * epoll_ctl.
 *
 * Most engines serve one direction. One that serves both at once joins the relay: it takes the
 * sockets themselves, for good, at a moment when both directions are dry. Sockmap waits for one;
 * the wire makes sure of the first, before any byte, by keeping what the client sends away from its
 * socket meanwhile (prepare). Until then, and when it can't, the directions are on others.
 *
 * Invariant: bytes that an engine has read and not yet written are in the direction's
 * buffer or pipe, and it holds neither when there are none.
 */
#ifndef SHUNT_ENGINE_H
#define SHUNT_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"
#include "pool.h"

/* How much a direction may move before other flows of the worker have their turn. */
#define PUMP_BUDGET_BYTES (1u << 20)
#define PUMP_LATER_MS 5
/* A relay that ends after so many reads of its sockets, or packets on the wire, is brief: to join
 * it would cost more than it saves. */
#define RELAY_BRIEF_STEPS 16

enum {
	CLIENT,
	BACKEND
}; /* the two sides; a direction has the index of the side that it reads from */

struct side {
	struct watch watch; /* its fd; -1: none */
	bool readable;
	bool writable;
	bool hangup;  /* the peer's FIN or RST has come: read on until it shows */
	bool urgent;  /* urgent data has come: reads stop at its mark, and a short one does not mean
			 empty */
	bool is_unix; /* it is no TCP socket */
};

/* Why a direction is on its engine; explained by engine_reason_text(). */
enum engine_reason {
	ENGINE_FORCED,
	ENGINE_FIRST_BYTES,
	ENGINE_SMALL_READS,
	ENGINE_BULK,
	ENGINE_NO_PIPE,
	ENGINE_URGENT_DATA,
	ENGINE_LONG_LIVED,
	ENGINE_SOCKMAP_OFF,
	ENGINE_NO_SLOT,
	ENGINE_NOT_ESTABLISHED,
	ENGINE_JOIN_FAILED,
	ENGINE_NOT_TCP,
	ENGINE_ON_THE_WIRE,
	ENGINE_PROMOTED,
	ENGINE_ADOPTED,
	ENGINE_WIRE_OFF,
	ENGINE_WIRE_NOT_HELD,
	ENGINE_WIRE_NOT_SEEN,
	ENGINE_WIRE_NOT_DRY,
	ENGINE_WIRE_NO_SOCKET,
	ENGINE_WIRE_FAMILIES,
	ENGINE_WIRE_TIMESTAMPS,
	ENGINE_WIRE_ECN,
	ENGINE_WIRE_MSS,
	ENGINE_WIRE_NO_ROUTE,
	ENGINE_WIRE_MTU,
	ENGINE_WIRE_NO_SLOT,
	ENGINE_WIRE_HEADER,
	ENGINE_WIRE_BRIEF,
	ENGINE_WIRE_TRANSPARENT,
	ENGINE_BYPASSED,
	ENGINE_BYPASS_HALF,
	ENGINE_BYPASS_OTHER_HALF,
	ENGINE_BYPASS_OFF,
	ENGINE_BYPASS_UNKNOWN,
	ENGINE_BYPASS_REMOTE,
	ENGINE_BYPASS_JOINER,
	ENGINE_BYPASS_NO_SLOT,
	ENGINE_BYPASS_NOT_DRY,
	ENGINE_BYPASS_FULL,
	ENGINE_BYPASS_SWITCHED_OFF,
	ENGINE_BYPASS_UNFIT,
	ENGINE_BYPASS_GONE,
	ENGINE_BYPASS_ENDED,
	ENGINE_BYPASS_HEADER,
	N_ENGINE_REASONS
};

struct engine;
struct relay;
struct sockmap_share;
struct wire_share;
struct bypass_share;
struct bypass_joint;

struct direction {
	const struct engine *engine;
	struct buffer *buffer; /* copy */
	struct pipe *pipe;     /* splice */
	uint64_t bytes;        /* written to the destination */
	uint32_t read_average; /* bytes that a read brings lately: what auto goes by */
	bool eof;              /* the source's FIN has been read */
	bool ended;            /* and passed on, after all bytes */
	/* sockmap: bytes redirected that the destination's TCP has not taken; until known, 1 */
	uint64_t in_kernel;
	enum engine_reason reason;
};

/* What the relays of one worker share. */
struct relay_pools {
	struct buffer_pool buffers;
	struct pipe_pool pipes;
	uint8_t *scratch; /* BUFFER_BYTES, for peeking when no buffer is left */
	/* For engines that join; the owner sets them. */
	struct loop *loop;
	void (*wake)(struct relay *r); /* something that no edge tells has happened: pump soon */
	struct sockmap_share *sockmap; /* NULL: the engine is off */
	bool sockmap_pays;             /* auto may use it: see probe_cost.h */
	struct wire_share *wire;       /* NULL: the engine is off */
	struct bypass_share *bypass;   /* NULL: no relay is bypassed */
	_Atomic uint64_t refused[N_ENGINE_REASONS]; /* relays that could not join, by why not */
};

struct relay {
	struct side side[2];
	struct direction dir[2]; /* dir[i] goes from side[i] to side[!i] */
	struct relay_pools *pools;
	uint64_t born_ns;
	uint64_t moved;  /* bytes read and bytes written, both ways: has anything happened? */
	uint32_t steps;  /* reads, or packets on the wire, both ways */
	int failed_side; /* whose socket the last negative result came from */
	bool is_auto;    /* engine_auto may change the directions' engines */
	const struct engine *joiner; /* is to join as soon as it may; NULL: none, or it could not */
	const struct engine *joined; /* has the sockets, for good; NULL: none */
	bool refused;                /* sockmap could not join it: it is not asked again */
	bool may_wire;               /* it may be put on the wire */
	uint8_t promotions;          /* attempts to put it on the wire after its first bytes */
	bool expected_brief;         /* if it is not, it is promoted at once */
	void *joint;                 /* what the joiner, or who has joined, keeps about it */
	bool may_bypass;             /* those of its ends that are on this host may go around */
	bool bypass_off;             /* but not now */
	bool has_header;             /* a PROXY header came, or goes, before its first byte */
	enum engine_reason not_bypassed; /* why not, when it may and `bypass` has no record */
	struct bypass_joint *bypass;     /* NULL: they don't */
};

enum pump_result {
	PUMP_WAIT = 0,  /* until the next edge */
	PUMP_MORE = 1,  /* the budget is used up: call again after the others */
	PUMP_LATER = 2, /* no edge will tell when to go on: call again in PUMP_LATER_MS */
};

struct engine {
	const char *name;
	const char *summary;
	/*
	 * Can it work on this host? 0, or -errno with the reason as a phrase in why. NULL for an
	 * engine that takes more to find out: see probe.h.
	 */
	int (*probe)(char *why, size_t size);
	/* Takes over a direction that holds no bytes. 0 or -errno: then it stays as it was. */
	int (*start)(struct relay *r, int from);
	/* Moves bytes until an edge is needed or the budget is used up: enum pump_result, or -errno
	 * (failed_side). */
	int (*pump)(struct relay *r, int from);
	/* Gives back what the direction holds; bytes that wait are gone: only when it moves on dry,
	 * or at the end. */
	void (*stop)(struct relay *r, int from);

	/*
	 * Only of an engine that joins before the first byte. `fd` is a socket for the backend that
	 * is not connected yet; -1: there is none yet, only the client's. From then on no byte of
	 * the relay reaches a socket until join() or withdraw(); unless it sees that it can't, and
	 * sets r->joiner to NULL with the directions' reasons. Again for each further backend that
	 * is tried.
	 */
	void (*prepare)(struct relay *r, int fd);
	/* The relay will not be joined: what was kept from the sockets goes to them. */
	void (*withdraw)(struct relay *r);
	/* Instead of prepare(): it is not to be joined before its first byte, for this reason. */
	void (*decline)(struct relay *r, enum engine_reason why);
	/*
	 * Only of an engine that joins, which has no start(). Takes over both directions of a relay
	 * that may join (relay_may_join). 0, or -errno with the reason in *why_not; r->joined is
	 * then set if it has got hold of a socket, and NULL if all is as it was.
	 */
	int (*join)(struct relay *r, enum engine_reason *why_not);
	/* Brings the directions' bytes and `in_kernel` up to date. Returns when the last byte
	 * moved. */
	uint64_t (*refresh)(struct relay *r);
	/* The relay's sockets are closed: gives back what join() took. */
	void (*leave)(struct relay *r);
};

extern const struct engine engine_copy;
extern const struct engine engine_splice;
extern const struct engine engine_sockmap;
extern const struct engine engine_wire;

/* "auto" first, then the engines by name: what --engine and the config's Engine may say. */
extern const char *const engine_names[];
extern const size_t n_engines;
/* All of them, ended by NULL; the last one is the bypass, which can't be asked for. */
extern const struct engine *const engines[];
const struct engine *engine_find(const char *name); /* NULL: there is none of this name */

const char *engine_reason_text(enum engine_reason reason);

int relay_pools_init(struct relay_pools *p, size_t buffers, size_t pipes) must_check;
void relay_pools_close(struct relay_pools *p); /* takes a zeroed one, too */

/*
 * Both directions on `engine`; NULL: auto, which begins with the wire if it may. The sides' fds
 * come with the session's connections.
 */
void relay_init(struct relay *r, struct relay_pools *pools, const struct engine *engine,
		bool may_wire);
/*
 * Instead of relay_prepare() and relay_begin(), once the client's fd is known, or to take back what
 * relay_prepare() has begun: there are bytes for the sockets before the relay's first one. It may
 * still be joined later.
 */
void relay_begin_late(struct relay *r, enum engine_reason why);
/* The same for one that is never to be on the wire. */
void relay_refuse_wire(struct relay *r, enum engine_reason why);
/* There is a client; and, again, a socket for the backend was made and is not connected yet (-1:
 * not so far). */
void relay_prepare(struct relay *r, int fd);
/* Both sides are connected, and nothing was read or written yet. */
void relay_begin(struct relay *r);
/* Moves what can be moved in one direction, and passes its end on: enum pump_result or -errno
 * (failed_side). */
int relay_pump(struct relay *r, int from) must_check;
/*
 * For what moves without the relay being pumped: brings its counters up to date. Returns when the
 * last byte moved that way, in CLOCK_MONOTONIC nanoseconds; 0: none.
 */
uint64_t relay_refresh(struct relay *r);
/* Gives back all that it holds. The sockets of a relay that has been joined must be closed. */
void relay_release(struct relay *r);
/* Notes an edge of a side: EPOLL* bits. */
void side_note_events(struct side *s, uint32_t events);
/*
 * Do these events say that its connection is broken? EPOLLHUP does of a TCP socket. Of a unix socket
 * it says no more than that the peer has closed: what it has sent before is still to be read.
 */
bool side_is_broken(const struct side *s, uint32_t events);

bool relay_is_done(const struct relay *r); /* both directions have ended */
bool relay_is_dry(const struct relay *r);  /* no bytes wait inside */
/* What a direction's bytes take, and why: its engine, or the way around the proxy. */
struct relay_way {
	const struct engine *engine;
	enum engine_reason reason;
};
struct relay_way relay_way(const struct relay *r, int from);
/* "copy", or "copy,splice" when the directions (to the backend, to the client) differ. */
const char *relay_engine_names(const struct relay *r, char *buf, size_t size);

/* For engines. */

/* Are there no bytes between its source and its destination? */
static inline bool direction_is_dry(const struct direction *d)
{
	return !d->buffer && !d->pipe && !d->in_kernel;
}

/* The bytes that wait between them. */
static inline uint64_t direction_backlog(const struct direction *d)
{
	return (d->buffer ? d->buffer->len : 0) + (d->pipe ? d->pipe->len : 0) + d->in_kernel;
}

/* Hands a dry direction to another engine; when that one can't, nothing changes. */
void direction_switch(struct relay *r, int from, const struct engine *engine,
		      enum engine_reason reason);

/*
 * Could an engine join now? Both sides are connected and quiet, neither has ended, and nothing
 * waits in between.
 */
bool relay_may_join(const struct relay *r);
/* Are both sides TCP sockets, which is what engines that join take? */
bool relay_is_tcp(const struct relay *r);
/* Joins, or does not and counts why not. 0 or -errno: then it stays on the engines of its
 * directions. */
int relay_join(struct relay *r, const struct engine *engine, enum engine_reason reason);
/* Both directions are on this engine from now on; for one that has joined in its own time. */
void relay_set_engine(struct relay *r, const struct engine *engine, enum engine_reason reason);

/*
 * The pump of an engine that reads into something and writes from it: `write_on` writes what waits
 * (0 or -errno), `move` does one read and one write (bytes read, 0 for nothing more now, or
 * -errno). What the destination can't take stays in the source's socket, where TCP's window holds
 * the sender back.
 */
int direction_pump(struct relay *r, int from, int (*write_on)(struct relay *r, int from),
		   ssize_t (*move)(struct relay *r, int from)) must_check;

/* Notes that a read brought n bytes: the average moves an eighth of the way. */
static inline void direction_note_read(struct relay *r, struct direction *d, size_t n)
{
	r->moved += n;
	r->steps++;
	d->read_average =
		(uint32_t)((int64_t)d->read_average + ((int64_t)n - (int64_t)d->read_average) / 8);
}

static inline void direction_note_written(struct relay *r, struct direction *d, size_t n)
{
	r->moved += n;
	d->bytes += n;
}

static inline int relay_fail(struct relay *r, int side, int error)
{
	r->failed_side = side;
	return -error;
}

/* Looks at what a direction did lately and moves it between copy and splice (engine_auto.c). */
void auto_review(struct relay *r, int from);

#endif
