/* SPDX-License-Identifier: MIT */
/*
 * A terminal for a live view: the alternate screen, keys without Enter, its size as it changes. It
 * is given back as it was, also when the program is stopped by ^Z, interrupted or told to end:
 * those signals are read as events, by the thread that opened it.
 */
#ifndef SHUNT_SCREEN_H
#define SHUNT_SCREEN_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "util.h"

enum screen_event {
	SCREEN_TIME = 0, /* nothing has happened for the time given */
	SCREEN_RESIZED = -1,
	SCREEN_END = -2, /* told to end, or the terminal is gone */
};

struct screen {
	struct termios before;
	int signal_fd;
	size_t width, height;
};

/* 0, or -errno: -ENOTTY when standard input and output are no terminal. */
int screen_open(struct screen *s) must_check;
void screen_close(struct screen *s);
/* Shows a whole screen: lines, each ended by a newline, no longer and not more than it has room
 * for. */
void screen_show(const struct screen *s, const char *text);
/* Waits for a key (its byte, from 1) or for one of enum screen_event. */
int screen_wait(struct screen *s, uint32_t wait_ms);

#endif
