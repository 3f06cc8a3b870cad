/* SPDX-License-Identifier: MIT */
/* The sequences are those of ECMA-48 and xterm that every terminal of today has. */
#include "screen.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the alternate screen, without a cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define END_OF_LINE "\033[K" /* clears up to there */
#define END_OF_SCREEN "\033[J"
#define WIDTH_DEFAULT 80
#define HEIGHT_DEFAULT 24

static void update_size(struct screen *s)
{
	struct winsize size;

	s->width = WIDTH_DEFAULT;
	s->height = HEIGHT_DEFAULT;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		return;
	s->width = size.ws_col;
	s->height = size.ws_row;
}

static void take_terminal(struct screen *s)
{
	struct termios raw = s->before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs(ENTER, stdout);
	fflush(stdout);
	update_size(s);
}

static void give_terminal_back(const struct screen *s)
{
	fputs(LEAVE, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

static void signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGWINCH);
	sigaddset(set, SIGTSTP);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

int screen_open(struct screen *s)
{
	sigset_t set;

	*s = (struct screen){ .signal_fd = -1 };
	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &s->before))
		return -ENOTTY;
	signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signal_fd < 0)
		return -errno;
	take_terminal(s);
	return 0;
}

void screen_close(struct screen *s)
{
	sigset_t set;

	if (s->signal_fd < 0)
		return;
	give_terminal_back(s);
	close(s->signal_fd);
	s->signal_fd = -1;
	signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void screen_show(const struct screen *s, const char *text)
{
	size_t lines = 0;

	fputs(HOME, stdout);
	for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
		/* A newline after the last line would scroll. */
		fprintf(stdout, "%s%.*s" END_OF_LINE, lines ? "\r\n" : "", (int)(end - text), text);
		if (++lines == s->height)
			break;
	}
	if (lines < s->height)
		fputs(END_OF_SCREEN, stdout);
	fflush(stdout);
}

/* As ^Z does without us; returns when the shell has it go on, or at once where there is none. */
static void stop_for_a_while(struct screen *s)
{
	sigset_t set;

	give_terminal_back(s);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	take_terminal(s);
}

static int on_signal(struct screen *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return SCREEN_RESIZED;
	if (info.ssi_signo == SIGTSTP)
		stop_for_a_while(s);
	else if (info.ssi_signo != SIGWINCH)
		return SCREEN_END;
	update_size(s);
	return SCREEN_RESIZED;
}

int screen_wait(struct screen *s, uint32_t wait_ms)
{
	struct pollfd fds[] = { { s->signal_fd, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
	unsigned char key;

	if (poll(fds, ARRAY_SIZE(fds), (int)wait_ms) <= 0)
		return SCREEN_TIME;
	if (fds[0].revents)
		return on_signal(s);
	return read(STDIN_FILENO, &key, 1) == 1 && key ? key : SCREEN_END;
}
