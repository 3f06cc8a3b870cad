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
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "log_repeat.h"

#define LOG_BATCH_BYTES (512u << 10)
/* How long log_stop(), and a line that is written directly, wait for a reader that has stalled. */
#define LOG_STALL_WAIT_MS 2000
#define LOG_GIVE_UP_WAIT_MS 500 /* for a writer that was given up to notice it */
#define LOG_MESSAGE_MAX 1024
#define LOG_LOST_FORMAT "%llu log lines were lost: the reader of the log is too slow"

/* What stands before each line of a batch. */
struct line_header {
	uint16_t len, fields_len; /* the fields stand behind the line */
	uint8_t level, output;
};

struct batch {
	char *data;
	size_t len;
};

_Static_assert(LOG_TEXT_MAX <= UINT16_MAX, "a line's length fits its header");
_Static_assert(6 * LOG_REPEAT_TEXT_MAX + 256 <= LOG_TEXT_MAX,
	       "a repeated message fits a line, each byte escaped as \\u00XX, with its number");
_Static_assert(LOG_TEXT_MAX <= PIPE_BUF, "a line can be written to a pipe in one piece");

static struct {
	atomic_int level, format, output;
	atomic_bool journal; /* stderr is the journal's stream: it adds the time itself */
	_Atomic uint64_t lost_ever;
	pthread_mutex_t lock;
	pthread_cond_t filled, end;
	/* Under the lock: */
	struct batch batch;
	uint64_t lost;
	struct log_repeats repeats;
	bool running, stopping, ended;
	int direct_wait_ms; /* how long a line written directly waits for its reader */
	/* Of the thread that starts, stops and configures it: */
	pthread_t writer;
	char *file; /* NULL: none was ever opened */
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

static int open_file(const char *path)
{
	int rc = log_output_open_file(path);

	if (rc)
		return rc;
	free(logger.file);
	logger.file = xstrdup(path);
	return 0;
}

int log_configure(const struct log_conf *conf)
{
	enum log_output output = conf->output;
	bool journal = log_output_stderr_is_journal();
	int rc = output == LOG_OUTPUT_FILE ? open_file(conf->file) : 0;

	/* What reads JSON from the journal looks for it in the message, as in a file. */
	if (output == LOG_OUTPUT_STDERR && journal && conf->format == LOG_FORMAT_TEXT &&
	    !log_output_open_journal(conf->journal))
		output = LOG_OUTPUT_JOURNAL;
	log_set_level(conf->level);
	atomic_store_explicit(&logger.format, (int)conf->format, memory_order_relaxed);
	atomic_store_explicit(&logger.journal, journal, memory_order_relaxed);
	if (!rc)
		atomic_store_explicit(&logger.output, (int)output, memory_order_relaxed);
	return rc;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
}

enum log_level log_level_now(void)
{
	return (enum log_level)atomic_load_explicit(&logger.level, memory_order_relaxed);
}

int log_reopen(void)
{
	return logger.file ? log_output_open_file(logger.file) : 0;
}

uint64_t log_lost(void)
{
	return atomic_load_explicit(&logger.lost_ever, memory_order_relaxed);
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

static void line_write(const struct line_header *h, const char *line, const char *fields,
		       int wait_ms)
{
	enum log_output output = (enum log_output)h->output;
	int priority = syslog_priority(h->level);

	if (log_output_is_stream(output))
		log_output_write(output, line, h->len, wait_ms);
	else if (output == LOG_OUTPUT_JOURNAL)
		log_output_journal(priority, line, h->len, fields, h->fields_len, wait_ms);
	else
		log_output_syslog(priority, line, h->len);
}

/*
 * Moves the lines for a stream together over the headers and writes them at once; syslog and the
 * journal get theirs singly.
 */
static void batch_write(struct batch *b, int wait_ms)
{
	enum log_output stream = LOG_OUTPUT_STDERR;
	struct line_header h;
	size_t kept = 0;

	for (size_t at = 0; at < b->len; at += (size_t)h.len + h.fields_len) {
		memcpy(&h, b->data + at, sizeof(h));
		at += sizeof(h);
		if (!log_output_is_stream((enum log_output)h.output)) {
			line_write(&h, b->data + at, b->data + at + h.len, wait_ms);
			continue;
		}
		if (stream != (enum log_output)h.output) {
			log_output_write(stream, b->data, kept, wait_ms);
			kept = 0;
		}
		stream = (enum log_output)h.output;
		memmove(b->data + kept, b->data + at, h.len);
		kept += h.len;
	}
	log_output_write(stream, b->data, kept, wait_ms);
	b->len = 0;
}

static struct line_header header_of(const struct log_record *r)
{
	return (struct line_header){
		.len = (uint16_t)r->line.len,
		.fields_len = (uint16_t)r->fields.len,
		.level = (uint8_t)r->level,
		.output = (uint8_t)r->output,
	};
}

static bool batch_append(struct batch *b, const struct log_record *r)
{
	struct line_header h = header_of(r);
	char *at = b->data + b->len;

	if (b->len + sizeof(h) + h.len + h.fields_len > LOG_BATCH_BYTES)
		return false;
	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), r->line.bytes, h.len);
	memcpy(at + sizeof(h) + h.len, r->fields.bytes, h.fields_len);
	b->len += sizeof(h) + h.len + h.fields_len;
	return true;
}

static void message_format(struct log_record *r, enum log_level level, const char *message,
			   uint32_t repeated);

/* With the lock held and the batch just taken away: there is room. */
static void report_lost(void)
{
	char message[sizeof(LOG_LOST_FORMAT) + 20];
	struct log_record r;

	if (logger.lost == 0)
		return;
	snprintf(message, sizeof(message), LOG_LOST_FORMAT, (unsigned long long)logger.lost);
	message_format(&r, LOG_LEVEL_WARNING, message, 0);
	if (batch_append(&logger.batch, &r))
		logger.lost = 0;
}

/* With the lock held. */
static void count_lost(void)
{
	logger.lost++;
	atomic_fetch_add_explicit(&logger.lost_ever, 1, memory_order_relaxed);
}

/* With the lock held. */
static void report_repeats(uint64_t now_ns)
{
	struct log_repeat again;
	struct log_record r;

	while (log_repeats_take(&logger.repeats, now_ns, &again)) {
		message_format(&r, (enum log_level)again.level, again.text, again.left_out);
		if (!batch_append(&logger.batch, &r))
			count_lost();
	}
}

/* With the lock held: waits for a line, or till there are repeats to be told of. */
static void wait_for_lines(void)
{
	uint64_t due_ns = log_repeats_due_ns(&logger.repeats);
	struct timespec due = { .tv_sec = (time_t)(due_ns / NSEC_PER_SEC),
				.tv_nsec = (long)(due_ns % NSEC_PER_SEC) };

	if (due_ns == UINT64_MAX)
		pthread_cond_wait(&logger.filled, &logger.lock);
	else
		pthread_cond_clockwait(&logger.filled, &logger.lock, CLOCK_MONOTONIC, &due);
	report_repeats(clock_ns());
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
		wait_for_lines();
	if (logger.stopping)
		report_repeats(UINT64_MAX);
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
		batch_write(b, LOG_WAIT_TILL_GIVEN_UP);
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
		log_output_give_up(false);
		logger.repeats = (struct log_repeats){ 0 };
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
		log_output_give_up(true);
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

/* With the lock held. */
static void append(const struct log_record *r)
{
	if (logger.batch.len == 0)
		pthread_cond_signal(&logger.filled);
	if (!batch_append(&logger.batch, r))
		count_lost();
}

static void submit(const struct log_record *r)
{
	struct line_header h = header_of(r);
	int wait_ms;

	pthread_mutex_lock(&logger.lock);
	if (logger.running) {
		append(r);
		pthread_mutex_unlock(&logger.lock);
		return;
	}
	wait_ms = logger.direct_wait_ms;
	pthread_mutex_unlock(&logger.lock);

	/* A syslog(3) whose daemon is stuck can't be waited for in bounded time. */
	if (wait_ms > 0 || log_output_is_stream(r->output))
		line_write(&h, r->line.bytes, r->fields.bytes, wait_ms);
}

/* Is it the same as one a moment ago? Then it is counted. */
static bool is_repeat(enum log_level level, const char *message)
{
	uint64_t due_before;
	bool repeat = false;

	pthread_mutex_lock(&logger.lock);
	if (logger.running && level < LOG_LEVEL_DEBUG) {
		due_before = log_repeats_due_ns(&logger.repeats);
		repeat = log_repeats_leave_out(&logger.repeats, (int)level, message, clock_ns());
		/* The writer may be waiting without a time. */
		if (repeat && due_before == UINT64_MAX)
			pthread_cond_signal(&logger.filled);
	}
	pthread_mutex_unlock(&logger.lock);
	return repeat;
}

/* The start of a line: time and level, as far as the log's reader does not add them itself. */
static void line_begin(struct log_record *r, enum log_level level)
{
	char priority[] = { '<', (char)('0' + syslog_priority(level)), '>', '\0' };
	struct log_text *t = &r->line;

	r->level = level;
	r->output = (enum log_output)atomic_load_explicit(&logger.output, memory_order_relaxed);
	r->fields.len = 0;
	r->fields.full = r->output != LOG_OUTPUT_JOURNAL;
	r->fields.format = LOG_FORMAT_TEXT;
	t->len = 0;
	t->full = false;
	t->format = log_format_now();

	if (t->format == LOG_FORMAT_JSON) {
		log_text_put(t, "{\"time\":\"");
		log_text_time(t);
		log_text_put(t, "\",\"level\":\"");
		log_text_put(t, log_level_name(level));
		log_text_put(t, "\"");
	} else if (r->output == LOG_OUTPUT_SYSLOG || r->output == LOG_OUTPUT_JOURNAL) {
		return;
	} else if (r->output == LOG_OUTPUT_STDERR &&
		   atomic_load_explicit(&logger.journal, memory_order_relaxed)) {
		log_text_put(t, priority);
	} else {
		log_text_time(t);
		log_text_put(t, " ");
		log_text_put(t, log_level_name(level));
		log_text_put(t, " ");
	}
}

static void put_field(struct log_record *r, const char *key, const char *value, bool is_number)
{
	log_text_field(&r->line, key, value, is_number);
	log_text_journal_field(&r->fields, key, value);
}

/* repeated: how often it was left out since it was written. */
static void message_format(struct log_record *r, enum log_level level, const char *message,
			   uint32_t repeated)
{
	line_begin(r, level);
	log_text_message(&r->line, message);
	if (repeated) {
		char n[16];

		snprintf(n, sizeof(n), "%u", repeated);
		put_field(r, "repeated", n, true);
	}
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
	if (is_repeat(level, message))
		return;
	message_format(&r, level, message, 0);
	submit(&r);
}

void log_record_begin(struct log_record *r, enum log_level level, const char *event)
{
	if (!log_enabled(level)) {
		r->line.len = 0;
		r->line.full = r->fields.full = true; /* so that its fields cost nothing */
		return;
	}
	line_begin(r, level);
	if (r->line.format == LOG_FORMAT_JSON)
		log_text_field(&r->line, "event", event, false);
	else
		log_text_put(&r->line, event);
	log_text_journal_field(&r->fields, "event", event);
}

void log_record_str(struct log_record *r, const char *key, const char *value)
{
	put_field(r, key, value, false);
}

void log_record_u64(struct log_record *r, const char *key, uint64_t value)
{
	char text[24];

	if (r->line.full)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	put_field(r, key, text, true);
}

void log_record_ms(struct log_record *r, const char *key, uint64_t ns)
{
	char text[32];

	if (r->line.full)
		return;
	snprintf(text, sizeof(text), "%llu.%03llu", (unsigned long long)(ns / NSEC_PER_MSEC),
		 (unsigned long long)(ns % NSEC_PER_MSEC / NSEC_PER_USEC));
	put_field(r, key, text, true);
}

void log_record_end(struct log_record *r)
{
	if (r->line.len == 0)
		return;
	log_text_end(&r->line);
	submit(r);
}
