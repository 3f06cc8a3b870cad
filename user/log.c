/* SPDX-License-Identifier: MIT */
/*
 * The log. What is logged is appended to a bounded batch; the writer's thread takes the whole batch
 * and leaves an empty one, so whoever logs waits for a memcpy at most. Two batches of
 * LOG_BATCH_BYTES are all the memory there is: when the one is being written and the other is full,
 * lines are dropped and counted. Each line in a batch has a header of its own, so level, format and
 * output may change at any time.
 */
#include "log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define LOG_BATCH_BYTES (512u << 10)
/* How long log_stop(), and a line that is written directly, wait for a reader that has stalled. */
#define LOG_STALL_WAIT_MS 2000
#define LOG_GIVE_UP_WAIT_MS 500 /* for a writer that was given up to notice it */
#define LOG_STALL_LOOK_MS 100   /* how often it looks */
#define WAIT_TILL_GIVEN_UP (-1)
#define LOG_MESSAGE_MAX 1024
#define LOG_LOST_FORMAT "%llu log lines were lost: the reader of the log is too slow"

/* What stands before each line of a batch. */
struct line_header {
	uint16_t len;
	uint8_t level, output;
};

struct batch {
	char *data;
	size_t len;
};

_Static_assert(LOG_TEXT_MAX <= UINT16_MAX, "a line's length fits its header");
_Static_assert(LOG_TEXT_MAX <= PIPE_BUF, "a line can be written to a pipe in one piece");

static struct {
	atomic_int level, format, output;
	atomic_bool given_up; /* the reader has stalled at the end: the writer drops what it has */
	atomic_bool journal;  /* stderr is the journal's stream: it adds the time itself */
	pthread_mutex_t lock;
	pthread_cond_t filled, end;
	/* Under the lock: */
	struct batch batch;
	uint64_t lost;
	bool running, stopping, ended;
	int direct_wait_ms; /* how long a line written directly waits for its reader */
	/* Of the thread that starts and stops it: */
	pthread_t writer;
} logger = {
	.level = LOG_LEVEL_INFO,
	.format = LOG_FORMAT_TEXT,
	.output = LOG_OUTPUT_STDERR,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
	.end = PTHREAD_COND_INITIALIZER,
	.direct_wait_ms = LOG_STALL_WAIT_MS,
};

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

/* The levels are syslog's, without the three above LOG_ERR. */
static int syslog_priority(unsigned int level)
{
	return LOG_ERR + (int)level;
}

/*
 * JOURNAL_STREAM says "device:inode" of the stream; a child whose stderr was redirected inherits it
 * too.
 */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_configure(const struct log_conf *conf)
{
	atomic_store_explicit(&logger.level, (int)conf->level, memory_order_relaxed);
	atomic_store_explicit(&logger.format, (int)conf->format, memory_order_relaxed);
	atomic_store_explicit(&logger.output, (int)conf->output, memory_order_relaxed);
	atomic_store_explicit(&logger.journal, stderr_is_journal(), memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

enum log_format log_format_now(void)
{
	return (enum log_format)atomic_load_explicit(&logger.format, memory_order_relaxed);
}

/* Output: by the writer's thread, or directly. */

/* Waits till stderr takes something. False: it did not in time, or never will. */
static bool stderr_has_room(int wait_ms)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	int n;

	do {
		n = poll(&pfd, 1, wait_ms == WAIT_TILL_GIVEN_UP ? LOG_STALL_LOOK_MS : wait_ms);
	} while ((n < 0 && errno == EINTR) ||
		 (n == 0 && wait_ms == WAIT_TILL_GIVEN_UP && !atomic_load(&logger.given_up)));
	return n > 0;
}

/*
 * Writes lines to stderr in pieces of whole lines of at most PIPE_BUF, each when poll(2) says that
 * there is room: so a line stays in one piece whoever else writes to the same pipe, and a write to
 * a pipe never blocks. What a closed or broken stderr does not take is dropped: there is nobody
 * left to tell.
 */
static void stderr_write(const char *text, size_t len, int wait_ms)
{
	while (len > 0 && stderr_has_room(wait_ms)) {
		size_t piece = len;
		ssize_t n;

		if (piece > PIPE_BUF) {
			const char *end = memrchr(text, '\n', PIPE_BUF);

			piece = end ? (size_t)(end - text) + 1 : PIPE_BUF;
		}
		n = write(STDERR_FILENO, text, piece);
		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno != EINTR && errno != EAGAIN) {
			return;
		}
	}
}

static void syslog_write(unsigned int level, const char *text, size_t len)
{
	syslog(syslog_priority(level), "%.*s", (int)(len - 1), text); /* without the newline */
}

/*
 * Moves the lines for stderr together over the headers and writes them at once; syslog gets its
 * lines singly.
 */
static void batch_write(struct batch *b, int wait_ms)
{
	struct line_header h;
	size_t kept = 0;

	for (size_t at = 0; at < b->len; at += h.len) {
		memcpy(&h, b->data + at, sizeof(h));
		at += sizeof(h);
		if (h.output == LOG_OUTPUT_SYSLOG) {
			syslog_write(h.level, b->data + at, h.len);
		} else {
			memmove(b->data + kept, b->data + at, h.len);
			kept += h.len;
		}
	}
	stderr_write(b->data, kept, wait_ms);
	b->len = 0;
}

static bool batch_append(struct batch *b, const struct log_record *r)
{
	struct line_header h = { (uint16_t)r->line.len, (uint8_t)r->level, (uint8_t)r->output };

	if (b->len + sizeof(h) + r->line.len > LOG_BATCH_BYTES)
		return false;
	memcpy(b->data + b->len, &h, sizeof(h));
	memcpy(b->data + b->len + sizeof(h), r->line.bytes, r->line.len);
	b->len += sizeof(h) + r->line.len;
	return true;
}

static void message_format(struct log_record *r, enum log_level level, const char *message);

/* With the lock held and the batch just taken away: there is room. */
static void report_lost(void)
{
	char message[sizeof(LOG_LOST_FORMAT) + 20];
	struct log_record r;

	if (logger.lost == 0)
		return;
	snprintf(message, sizeof(message), LOG_LOST_FORMAT, (unsigned long long)logger.lost);
	message_format(&r, LOG_LEVEL_WARNING, message);
	if (batch_append(&logger.batch, &r))
		logger.lost = 0;
}

/*
 * Waits for lines and takes them in exchange for the empty batch. False: stopped, and all are
 * written.
 */
static bool batch_take(struct batch *b)
{
	struct batch empty = *b;

	pthread_mutex_lock(&logger.lock);
	while (logger.batch.len == 0 && !logger.stopping)
		pthread_cond_wait(&logger.filled, &logger.lock);
	*b = logger.batch;
	logger.batch = empty;
	report_lost();
	pthread_mutex_unlock(&logger.lock);
	return b->len > 0;
}

static void batch_free(struct batch *b)
{
	if (b)
		free(b->data);
	free(b);
}

static void *writer_run(void *arg)
{
	struct batch *b = arg;

	while (batch_take(b))
		batch_write(b, WAIT_TILL_GIVEN_UP);
	batch_free(b);

	pthread_mutex_lock(&logger.lock);
	logger.ended = true;
	pthread_cond_signal(&logger.end);
	pthread_mutex_unlock(&logger.lock);
	return NULL;
}

/* Signals are for the thread that runs the main loop, and SIGPIPE is for nobody. */
static int writer_start(struct batch *b)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&logger.writer, NULL, writer_run, b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

int log_start(void)
{
	struct batch first = { .data = malloc(LOG_BATCH_BYTES) };
	struct batch *second = calloc(1, sizeof(*second));
	int rc = -ENOMEM;

	if (!first.data || !second)
		goto fail;
	second->data = malloc(LOG_BATCH_BYTES);
	if (!second->data)
		goto fail;

	pthread_mutex_lock(&logger.lock);
	rc = writer_start(second);
	if (rc == 0) {
		openlog("shunt", LOG_PID, LOG_DAEMON);
		logger.batch = first;
		logger.running = true;
		logger.stopping = logger.ended = false;
		atomic_store(&logger.given_up, false);
		logger.direct_wait_ms = LOG_STALL_WAIT_MS;
	}
	pthread_mutex_unlock(&logger.lock);
	if (rc == 0)
		return 0;
fail:
	free(first.data);
	batch_free(second);
	return rc;
}

/* With the lock held: waits till the writer has left its loop. False: it has not in time. */
static bool writer_has_ended(uint64_t wait_ms)
{
	uint64_t until_ns = clock_ns() + wait_ms * NSEC_PER_MSEC;
	struct timespec until = { .tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
				  .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };
	int rc = 0;

	while (!logger.ended && rc == 0)
		rc = pthread_cond_clockwait(&logger.end, &logger.lock, CLOCK_MONOTONIC, &until);
	return logger.ended;
}

/*
 * With the lock held: has the writer write what there is and end. False: its reader has stalled. It
 * then ends without having written all, or, if it hangs in a call that does not return (a syslog(3)
 * whose daemon is stuck), is left behind; what it uses is its own or static.
 */
static bool writer_stop(void)
{
	bool written, ended;

	logger.stopping = true;
	pthread_cond_signal(&logger.filled);
	written = ended = writer_has_ended(LOG_STALL_WAIT_MS);
	if (!written) {
		atomic_store(&logger.given_up, true);
		ended = writer_has_ended(LOG_GIVE_UP_WAIT_MS);
	}
	/*
	 * A writer that has ended takes the lock no more: it can be waited for with the lock held.
	 */
	if (ended)
		pthread_join(logger.writer, NULL);
	else
		pthread_detach(logger.writer);
	return written;
}

void log_stop(void)
{
	struct batch rest;
	bool written;

	if (!logger.running)
		return;
	pthread_mutex_lock(&logger.lock);
	written = writer_stop();
	rest = logger.batch;
	logger.batch = (struct batch){ 0 };
	logger.running = false;
	if (!written)
		logger.direct_wait_ms = 0; /* the reader had its time: nobody waits for it again */
	pthread_mutex_unlock(&logger.lock);

	if (written) {
		/* What other threads have logged since the writer ended. */
		batch_write(&rest, LOG_STALL_WAIT_MS);
		closelog();
	}
	free(rest.data);
}

static void submit(const struct log_record *r)
{
	int wait_ms;

	pthread_mutex_lock(&logger.lock);
	if (logger.running) {
		if (logger.batch.len == 0)
			pthread_cond_signal(&logger.filled);
		if (!batch_append(&logger.batch, r))
			logger.lost++;
		pthread_mutex_unlock(&logger.lock);
		return;
	}
	wait_ms = logger.direct_wait_ms;
	pthread_mutex_unlock(&logger.lock);

	if (r->output == LOG_OUTPUT_STDERR)
		stderr_write(r->line.bytes, r->line.len, wait_ms);
	else if (wait_ms > 0)
		syslog_write(r->level, r->line.bytes, r->line.len);
}

/* The start of a line: time and level, as far as the log's reader does not add them itself. */
static void line_begin(struct log_record *r, enum log_level level)
{
	char priority[] = { '<', (char)('0' + syslog_priority(level)), '>', '\0' };
	struct log_text *t = &r->line;

	r->level = level;
	r->output = (enum log_output)atomic_load_explicit(&logger.output, memory_order_relaxed);
	t->len = 0;
	t->full = false;
	t->format = log_format_now();

	if (t->format == LOG_FORMAT_JSON) {
		log_text_put(t, "{\"time\":\"");
		log_text_time(t);
		log_text_put(t, "\",\"level\":\"");
		log_text_put(t, log_level_name(level));
		log_text_put(t, "\"");
	} else if (r->output == LOG_OUTPUT_SYSLOG) {
		return;
	} else if (atomic_load_explicit(&logger.journal, memory_order_relaxed)) {
		log_text_put(t, priority);
	} else {
		log_text_time(t);
		log_text_put(t, " ");
		log_text_put(t, log_level_name(level));
		log_text_put(t, " ");
	}
}

static void message_format(struct log_record *r, enum log_level level, const char *message)
{
	line_begin(r, level);
	log_text_message(&r->line, message);
	log_text_end(&r->line);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char message[LOG_MESSAGE_MAX];
	struct log_record r;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	message_format(&r, level, message);
	submit(&r);
}

void log_record_begin(struct log_record *r, enum log_level level, const char *event)
{
	if (!log_enabled(level)) {
		r->line.len = 0;
		r->line.full = true; /* so that its fields cost nothing */
		return;
	}
	line_begin(r, level);
	if (r->line.format == LOG_FORMAT_JSON)
		log_text_field(&r->line, "event", event, false);
	else
		log_text_put(&r->line, event);
}

void log_record_str(struct log_record *r, const char *key, const char *value)
{
	log_text_field(&r->line, key, value, false);
}

void log_record_u64(struct log_record *r, const char *key, uint64_t value)
{
	char text[24];

	if (r->line.full)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	log_text_field(&r->line, key, text, true);
}

void log_record_ms(struct log_record *r, const char *key, uint64_t ns)
{
	char text[32];

	if (r->line.full)
		return;
	snprintf(text, sizeof(text), "%llu.%03llu", (unsigned long long)(ns / NSEC_PER_MSEC),
		 (unsigned long long)(ns % NSEC_PER_MSEC / NSEC_PER_USEC));
	log_text_field(&r->line, key, text, true);
}

void log_record_end(struct log_record *r)
{
	if (r->line.len == 0)
		return;
	log_text_end(&r->line);
	submit(r);
}
