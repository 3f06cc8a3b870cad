/* SPDX-License-Identifier: MIT */
/*
 * The log: the form of a line in each format, and what becomes of lines when their reader is slow,
 * stalls or goes away. A test's stderr is a memory file or a pipe while it logs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "log_repeat.h"

#define TIME_PATTERN "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

#define NO_JOURNAL "/nonexistent/journal" /* the machine may have one, which is not for us */

static int real_stderr = -1;

static void stderr_to(int fd)
{
	fflush(stderr);
	real_stderr = dup(STDERR_FILENO);
	assert_true(real_stderr >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

static void stderr_back(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
}

static int capture_begin(void)
{
	int fd = memfd_create("log", 0);

	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, O_APPEND); /* several threads write, as to a log file */
	stderr_to(fd);
	return fd;
}

/* What was written since; the caller frees it. */
static char *capture_end(int fd)
{
	struct stat st;
	char *text;

	stderr_back();
	assert_int_equal(fstat(fd, &st), 0);
	text = calloc(1, (size_t)st.st_size + 1);
	assert_non_null(text);
	assert_int_equal(pread(fd, text, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return text;
}

static void configure(enum log_level level, enum log_format format)
{
	struct log_conf conf = { .level = level, .format = format, .journal = NO_JOURNAL };

	assert_int_equal(log_configure(&conf), 0);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
	regfree(&re);
}

static char *logged(enum log_format format, const char *message)
{
	int fd = capture_begin();

	configure(LOG_LEVEL_INFO, format);
	log_info("%s", message);
	return capture_end(fd);
}

static void a_text_line_has_time_level_and_message(void **state)
{
	char *text = logged(LOG_FORMAT_TEXT, "it's \"up\"");

	(void)state;
	assert_matches(text, "^" TIME_PATTERN " info it's \"up\"\n$");
	free(text);
}

static void a_json_line_is_one_object(void **state)
{
	char *text = logged(LOG_FORMAT_JSON, "it's \"up\"");

	(void)state;
	assert_matches(text, "^\\{\"time\":\"" TIME_PATTERN "\",\"level\":\"info\","
			     "\"event\":\"log\",\"message\":\"it's \\\\\"up\\\\\"\"\\}\n$");
	free(text);
}

static void less_important_lines_are_not_written(void **state)
{
	struct log_record r;
	int fd = capture_begin();
	char *text;

	(void)state;
	configure(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	log_notice("no");
	log_record_begin(&r, LOG_LEVEL_INFO, "no");
	log_record_str(&r, "key", "value");
	log_record_end(&r);
	log_error("yes");
	text = capture_end(fd);
	assert_matches(text, "^[^\n]* error yes\n$");
	assert_true(log_enabled(LOG_LEVEL_WARNING));
	assert_false(log_enabled(LOG_LEVEL_NOTICE));
	free(text);
}

static void the_journal_gets_priorities_and_no_time(void **state)
{
	char stream[64], *text;
	struct stat st;
	int fd = capture_begin();

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error("e");
	log_debug("d");
	text = capture_end(fd);
	assert_string_equal(text, "<3>e\n<7>d\n");
	free(text);

	/* The variable is inherited by a process whose stderr went elsewhere. */
	text = logged(LOG_FORMAT_TEXT, "m");
	unsetenv("JOURNAL_STREAM");
	assert_matches(text, "^" TIME_PATTERN " info m\n$");
	free(text);
}

/* Stderr is the journal's stream, and the journal listens at `path`. The stream's fd. */
static int capture_as_journal(const char *path)
{
	struct log_conf conf = { .level = LOG_LEVEL_INFO, .journal = path };
	char stream[64];
	struct stat st;
	int fd = capture_begin();

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	assert_int_equal(log_configure(&conf), 0);
	return fd;
}

static void got(int journal, const char *want)
{
	char datagram[4096];
	ssize_t n = recv(journal, datagram, sizeof(datagram) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	datagram[n] = '\0';
	assert_string_equal(datagram, want);
}

static void the_journal_gets_fields(void **state)
{
	char folder[] = "/tmp/shunt-test-journal-XXXXXX";
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int journal = socket(AF_UNIX, SOCK_DGRAM, 0), fd;
	struct log_record r;
	char *text;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", folder);
	assert_return_code(bind(journal, (struct sockaddr *)&at, sizeof(at)), errno);
	fd = capture_as_journal(at.sun_path);
	assert_int_equal(log_start(), 0); /* through the writer, and below directly */
	log_record_begin(&r, LOG_LEVEL_WARNING, "backend_down");
	log_record_str(&r, "app", "two\nlines");
	log_record_u64(&r, "attempts", 7);
	log_record_end(&r);
	log_stop();
	log_error("message");
	got(journal,
	    "PRIORITY=4\nSYSLOG_IDENTIFIER=shunt\nMESSAGE=backend_down app=\"two\\nlines\" "
	    "attempts=7\nSHUNT_EVENT=backend_down\nSHUNT_APP=two\\nlines\n"
	    "SHUNT_ATTEMPTS=7\n");
	got(journal, "PRIORITY=3\nSYSLOG_IDENTIFIER=shunt\nMESSAGE=message\n");
	close(journal);
	unlink(at.sun_path);
	rmdir(folder);
	log_error("nobody is there");
	text = capture_end(fd);
	assert_string_equal(text, "<3>nobody is there\n");
	free(text);
	unsetenv("JOURNAL_STREAM");
}

static char *read_text(const char *path)
{
	char *text = calloc(1, 4096);
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_true(fread(text, 1, 4095, file) < 4095);
	fclose(file);
	return text;
}

static void a_file_is_opened_anew_when_it_was_moved_away(void **state)
{
	char path[] = "/tmp/shunt-test-log-XXXXXX", moved[64], *text;
	struct log_conf conf = { LOG_LEVEL_INFO, LOG_FORMAT_TEXT, LOG_OUTPUT_FILE, .file = path };
	int fd = mkstemp(path), captured;

	(void)state;
	close(fd);
	snprintf(moved, sizeof(moved), "%s.1", path);
	assert_int_equal(log_configure(&conf), 0);
	assert_int_equal(log_start(), 0);
	log_info("one");
	assert_int_equal(rename(path, moved), 0);
	log_info("two");
	log_stop(); /* so that both are written */
	assert_int_equal(log_reopen(), 0);
	log_info("three");
	text = read_text(moved);
	assert_matches(text, "^" TIME_PATTERN " info one\n" TIME_PATTERN " info two\n$");
	free(text);
	text = read_text(path);
	assert_matches(text, "^" TIME_PATTERN " info three\n$");
	free(text);
	unlink(path);
	unlink(moved);

	/* A file that can't be opened changes nothing. */
	captured = capture_begin();
	configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	conf.file = "/nonexistent/log";
	assert_int_equal(log_configure(&conf), -ENOENT);
	log_info("still here");
	text = capture_end(captured);
	assert_matches(text, " info still here\n$");
	free(text);
}

static void what_repeats_is_counted(void **state)
{
	int fd = capture_begin();
	struct log_record r;
	char *text;

	(void)state;
	configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	assert_int_equal(log_start(), 0);
	for (int i = 0; i < 5; i++) {
		log_warning("no fds");
		log_warning("line %d", i);
		log_debug("detail");
		log_record_begin(&r, LOG_LEVEL_INFO, "event");
		log_record_end(&r);
	}
	log_error("no fds"); /* of another level, so another one */
	log_stop();
	text = capture_end(fd);
	assert_matches(text, "^[^\n]* warning no fds\n[^\n]* line 0\n[^\n]* detail\n[^\n]* event\n"
			     "[^\n]* line 1\n[^\n]* detail\n[^\n]* event\n([^\n]*\n){9}"
			     "[^\n]* error no fds\n[^\n]* warning no fds repeated=4\n$");
	free(text);

	/* It does not reach over the log's end. */
	fd = capture_begin();
	configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	assert_int_equal(log_start(), 0);
	log_warning("no fds");
	log_warning("no fds");
	log_stop();
	text = capture_end(fd);
	assert_matches(
		text,
		"\"message\":\"no fds\"\\}\n[^\n]*\"message\":\"no fds\",\"repeated\":1\\}\n$");
	free(text);
}

static void repeats_are_told_of_when_their_time_is_over(void **state)
{
	static const uint64_t window = LOG_REPEAT_WINDOW_MS * NSEC_PER_MSEC;
	struct log_repeats *repeats = calloc(1, sizeof(*repeats));
	struct log_repeat out;
	char text[LOG_REPEAT_TEXT_MAX + 1];

	(void)state;
	assert_false(log_repeats_leave_out(repeats, 1, "a", 100));
	assert_int_equal(log_repeats_due_ns(repeats), UINT64_MAX);
	assert_true(log_repeats_leave_out(repeats, 1, "a", 200));
	assert_true(log_repeats_leave_out(repeats, 1, "a", 300));
	assert_int_equal(log_repeats_due_ns(repeats), 100 + window);
	assert_false(log_repeats_take(repeats, 99 + window, &out));
	assert_true(log_repeats_take(repeats, 100 + window, &out));
	assert_string_equal(out.text, "a");
	assert_int_equal(out.left_out, 2);
	/* One that goes on is told of once in a while, and not written anew. */
	assert_true(log_repeats_leave_out(repeats, 1, "a", 101 + window));
	assert_true(log_repeats_take(repeats, 100 + 2 * window, &out));
	assert_int_equal(out.left_out, 1);
	assert_false(log_repeats_leave_out(repeats, 1, "a", 100 + 3 * window));

	/* There is room for a few, and none for what is long. */
	for (int i = 0; i < 2 * LOG_REPEAT_ENTRIES; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_false(log_repeats_leave_out(repeats, 1, text, 101 + 3 * window));
		assert_int_equal(log_repeats_leave_out(repeats, 1, text, 102 + 3 * window),
				 i < LOG_REPEAT_ENTRIES - 1);
	}
	memset(repeats, 0, sizeof(*repeats));
	memset(text, 'x', LOG_REPEAT_TEXT_MAX);
	text[LOG_REPEAT_TEXT_MAX] = '\0';
	assert_false(log_repeats_leave_out(repeats, 1, text, 1));
	assert_false(log_repeats_leave_out(repeats, 1, text, 1));
	free(repeats);
}

static void record_example(void)
{
	struct log_record r;

	log_record_begin(&r, LOG_LEVEL_INFO, "close");
	log_record_str(&r, "app", "six-thousand");
	log_record_str(&r, "why", "two words");
	log_record_str(&r, "none", "");
	log_record_str(&r, "sum", "a=b");
	log_record_u64(&r, "bytes", UINT64_MAX);
	log_record_ms(&r, "took_ms", 1234567890);
	log_record_end(&r);
}

static void a_record_is_fields_in_either_format(void **state)
{
	int fd = capture_begin();
	char *text;

	(void)state;
	configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	record_example();
	text = capture_end(fd);
	assert_matches(text, " info close app=six-thousand why=\"two words\" none=\"\" sum=\"a=b\" "
			     "bytes=18446744073709551615 took_ms=1234\\.567\n$");
	free(text);

	fd = capture_begin();
	configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	record_example();
	text = capture_end(fd);
	assert_matches(text, "\"level\":\"info\",\"event\":\"close\",\"app\":\"six-thousand\","
			     "\"why\":\"two words\",\"none\":\"\",\"sum\":\"a=b\","
			     "\"bytes\":18446744073709551615,\"took_ms\":1234\\.567\\}\n$");
	free(text);
}

/* Messages that would break a line or its JSON, and what they become. */
static void nothing_breaks_out_of_its_line(void **state)
{
	static const struct {
		const char *message, *text, *json;
	} row[] = {
		{ "a\nb\r\tc", "a\\nb\\r\\tc", "a\\nb\\r\\tc" },
		{ "\x1b[31m\x7f", "\\x1b[31m\\x7f", "\\u001b[31m\\u007f" },
		{ "back\\slash", "back\\slash", "back\\\\slash" },
		{ "b\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "b\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
		  "b\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "cut \xe2\x82", "cut \\xe2\\x82", "cut \\ufffd\\ufffd" },
		{ "\xc0\x80", "\\xc0\\x80", "\\ufffd\\ufffd" },                 /* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char expected[128], *text = logged(LOG_FORMAT_TEXT, row[i].message);
		cJSON *json;

		snprintf(expected, sizeof(expected), " info %s\n", row[i].text);
		assert_string_equal(strchr(text, ' '), expected);
		free(text);

		text = logged(LOG_FORMAT_JSON, row[i].message);
		snprintf(expected, sizeof(expected), "\"message\":\"%s\"}\n", row[i].json);
		assert_string_equal(strstr(text, "\"message\""), expected);
		json = cJSON_Parse(text);
		assert_non_null(json);
		cJSON_Delete(json);
		free(text);
	}
}

static void a_full_record_loses_its_last_fields_only(void **state)
{
	char value[100], key[16];

	(void)state;
	memset(value, '"', sizeof(value) - 1); /* each is escaped and takes two */
	value[sizeof(value) - 1] = '\0';
	for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
		int fd = capture_begin();
		struct log_record r;
		char *text;

		configure(LOG_LEVEL_INFO, (enum log_format)format);
		log_record_begin(&r, LOG_LEVEL_INFO, "event");
		for (int i = 0; i < 100; i++) {
			snprintf(key, sizeof(key), "k%d", i);
			log_record_str(&r, key, value);
		}
		log_record_u64(&r, "small", 1);
		log_record_end(&r);
		text = capture_end(fd);
		assert_in_range(strlen(text), LOG_TEXT_MAX - 250, LOG_TEXT_MAX);
		assert_null(strstr(text, "small"));
		assert_matches(text, format == LOG_FORMAT_TEXT ? "\\\\\"\"\n$" : "\"\\}\n$");
		if (format == LOG_FORMAT_JSON) {
			cJSON *json = cJSON_Parse(text);

			assert_non_null(cJSON_GetObjectItem(json, "k0"));
			assert_string_equal(cJSON_GetObjectItem(json, "k5")->valuestring, value);
			cJSON_Delete(json);
		}
		free(text);
	}
}

static void a_long_message_is_cut(void **state)
{
	char message[3000], *text;
	cJSON *json;

	(void)state;
	memset(message, '\x01', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	text = logged(LOG_FORMAT_JSON, message);
	assert_in_range(strlen(text), LOG_TEXT_MAX - 10, LOG_TEXT_MAX);
	json = cJSON_Parse(text);
	assert_non_null(json);
	cJSON_Delete(json);
	free(text);
}

#define N_THREADS 4
#define N_LINES 4000

static void *log_many(void *arg)
{
	for (int i = 0; i < N_LINES; i++)
		log_info("thread %d line %d", *(const int *)arg, i);
	return NULL;
}

/*
 * Goes through the lines "thread T line I": they are whole, each thread's in order, and what is
 * missing was reported as lost.
 */
static void assert_all_accounted_for(const char *text, int threads, int lines)
{
	unsigned long long seen = 0, lost = 0, n;
	int next[N_THREADS] = { 0 };

	for (const char *end; *text; text = end + 1) {
		int thread, line, used = 0;
		const char *message;

		end = strchr(text, '\n');
		assert_non_null(end);
		message = strchr(strchr(text, ' ') + 1, ' ') + 1;
		if (sscanf(message, "thread %d line %d%n", &thread, &line, &used) == 2) {
			assert_ptr_equal(message + used, end);
			assert_in_range(thread, 0, threads - 1);
			assert_in_range(line, next[thread], lines - 1);
			next[thread] = line + 1;
			seen++;
		} else {
			assert_int_equal(sscanf(message, "%llu log lines were lost", &n), 1);
			lost += n;
		}
	}
	assert_int_equal(seen + lost, (unsigned long long)threads * (unsigned long long)lines);
}

static void every_threads_lines_are_written_in_order(void **state)
{
	pthread_t thread[N_THREADS];
	int number[N_THREADS], fd;
	char *text;

	(void)state;
	for (int round = 0; round < 2; round++) { /* it can be started again */
		fd = capture_begin();
		configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
		assert_int_equal(log_start(), 0);
		for (int i = 0; i < N_THREADS; i++) {
			number[i] = i;
			assert_int_equal(pthread_create(&thread[i], NULL, log_many, &number[i]), 0);
		}
		configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT); /* as a reload does meanwhile */
		for (int i = 0; i < N_THREADS; i++)
			pthread_join(thread[i], NULL);
		log_stop();
		text = capture_end(fd);
		assert_all_accounted_for(text, N_THREADS, N_LINES);
		free(text);
	}
}

static void lines_may_come_while_the_log_starts_and_stops(void **state)
{
	pthread_t thread;
	int number = 0, fd = capture_begin();
	char *text;

	(void)state;
	configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(pthread_create(&thread, NULL, log_many, &number), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(log_start(), 0);
		log_stop();
	}
	pthread_join(thread, NULL);
	text = capture_end(fd);
	for (const char *at = text; *at; at = strchr(at, '\n') + 1)
		number++;
	assert_int_equal(number, N_LINES);
	free(text);
}

struct drain {
	int fd;
	char *text;
	size_t len;
};

static void *drain_pipe(void *arg)
{
	struct drain *d = arg;
	ssize_t n;

	for (;;) {
		d->text = realloc(d->text, d->len + 65536 + 1);
		n = read(d->fd, d->text + d->len, 65536);
		if (n <= 0)
			break;
		d->len += (size_t)n;
	}
	d->text[d->len] = '\0';
	return NULL;
}

static void stall_then_read(int pipe_flags)
{
	int pipe_fd[2], number = 0;
	struct drain d = { 0 };
	pthread_t reader;
	uint64_t began;

	assert_int_equal(pipe(pipe_fd), 0);
	fcntl(pipe_fd[1], F_SETFL, pipe_flags);
	stderr_to(pipe_fd[1]);
	close(pipe_fd[1]);
	configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(log_start(), 0);

	began = clock_ns();
	for (int i = 0; i < 10; i++)
		log_info("thread 0 line %d", number++);
	usleep(50000); /* so that the writer is stuck in a small batch, not in the first full one */
	while (number < 30000)
		log_info("thread 0 line %d", number++);
	assert_true(clock_ns() - began < 2 * NSEC_PER_SEC);

	d.fd = pipe_fd[0];
	assert_int_equal(pthread_create(&reader, NULL, drain_pipe, &d), 0);
	log_stop();
	stderr_back();
	pthread_join(reader, NULL);
	close(pipe_fd[0]);
	assert_non_null(strstr(d.text, " warning "));
	assert_all_accounted_for(d.text, 1, number);
	free(d.text);
}

static void a_slow_reader_costs_lines_and_no_time(void **state)
{
	(void)state;
	stall_then_read(0);
	stall_then_read(O_NONBLOCK);
}

static void a_stalled_reader_does_not_hold_up_the_end(void **state)
{
	uint64_t began, stopped, ended;
	int pipe_fd[2];

	(void)state;
	assert_int_equal(pipe(pipe_fd), 0);
	stderr_to(pipe_fd[1]);
	assert_int_equal(log_start(), 0);
	for (int i = 0; i < 5000; i++)
		log_info("line %d", i);
	began = clock_ns();
	log_stop();
	stopped = clock_ns();
	for (int i = 0; i < 10; i++)
		log_info("goodbye");
	ended = clock_ns();
	stderr_back();
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_in_range(stopped - began, 1900 * NSEC_PER_MSEC, 4 * NSEC_PER_SEC);
	assert_true(ended - stopped < NSEC_PER_SEC);
}

static void a_reader_that_left_is_no_harm(void **state)
{
	uint64_t began = clock_ns();
	int pipe_fd[2];

	(void)state;
	assert_int_equal(pipe(pipe_fd), 0);
	stderr_to(pipe_fd[1]);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_int_equal(log_start(), 0); /* SIGPIPE would end this process: the writer blocks it */
	for (int i = 0; i < 5000; i++)
		log_info("line %d", i);
	log_stop();
	stderr_back();
	assert_true(clock_ns() - began < NSEC_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_line_has_time_level_and_message),
		cmocka_unit_test(a_json_line_is_one_object),
		cmocka_unit_test(less_important_lines_are_not_written),
		cmocka_unit_test(the_journal_gets_priorities_and_no_time),
		cmocka_unit_test(the_journal_gets_fields),
		cmocka_unit_test(a_file_is_opened_anew_when_it_was_moved_away),
		cmocka_unit_test(what_repeats_is_counted),
		cmocka_unit_test(repeats_are_told_of_when_their_time_is_over),
		cmocka_unit_test(a_record_is_fields_in_either_format),
		cmocka_unit_test(nothing_breaks_out_of_its_line),
		cmocka_unit_test(a_full_record_loses_its_last_fields_only),
		cmocka_unit_test(a_long_message_is_cut),
		cmocka_unit_test(every_threads_lines_are_written_in_order),
		cmocka_unit_test(lines_may_come_while_the_log_starts_and_stops),
		cmocka_unit_test(a_slow_reader_costs_lines_and_no_time),
		cmocka_unit_test(a_stalled_reader_does_not_hold_up_the_end),
		cmocka_unit_test(a_reader_that_left_is_no_harm),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
