/* SPDX-License-Identifier: MIT */
/*
 * The configuration that is taken, and what becomes of it. Run from the root of the repository,
 * whose config.json is read.
 */
#include <fcntl.h>
#include <unistd.h>

#include "config_text.h"

static void the_challenges_file_is_taken(void **state)
{
	static const struct {
		const char *name;
		size_t n_ports;
		uint16_t ports[4];
		size_t n_targets;
		const char *targets[3];
	} want[] = {
		{ "five-thousand",
		  4,
		  { 5001, 5200, 5300, 5400 },
		  2,
		  { "tcp-echo.fly.dev:5001", "tcp-echo.fly.dev:5002" } },
		{ "six-thousand",
		  4,
		  { 6001, 6200, 6300, 6400 },
		  3,
		  { "tcp-echo.fly.dev:6001", "tcp-echo.fly.dev:6002",
		    "bad.target.for.testing:6003" } },
		{ "seven-thousand",
		  4,
		  { 7001, 7200, 7300, 7400 },
		  2,
		  { "tcp-echo.fly.dev:7001", "tcp-echo.fly.dev:7002" } },
	};
	struct config_vocabulary v = vocabulary();
	struct config_errors errors;
	struct config *c = config_load("config.json", &v, &errors);

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->n_apps, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct app_conf *app = &c->apps[i];

		assert_string_equal(app->name, want[i].name);
		assert_int_equal(app->n_ports, want[i].n_ports);
		assert_memory_equal(app->ports, want[i].ports, sizeof(want[i].ports));
		assert_int_equal(app->n_targets, want[i].n_targets);
		for (size_t t = 0; t < app->n_targets; t++)
			assert_string_equal(app->targets[t].text, want[i].targets[t]);
	}
	config_free(c);
	config_errors_free(&errors);
}

static void what_is_left_out_has_its_default(void **state)
{
	struct config *c = parsed("{'Apps':[{" APP "}]}");
	const struct app_conf *app = &c->apps[0];
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_ptr_equal(c->engine, engine_names[0]);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->drain_timeout_ms, 0);
	assert_int_equal(c->max_connections, 0);
	assert_int_equal(c->log.level, LOG_LEVEL_INFO);
	assert_int_equal(c->log.format, LOG_FORMAT_TEXT);
	assert_int_equal(c->log.output, LOG_OUTPUT_STDERR);
	assert_true(c->access_log);
	assert_int_equal(c->sockmap_flows, SOCKMAP_FLOWS_DEFAULT);
	assert_int_equal(c->sockmap_backlog_kib, SOCKMAP_BACKLOG_DEFAULT_KIB);
	assert_string_equal(c->admin_socket, ADMIN_SOCKET_DEFAULT);
	assert_true(c->admin_socket_is_default);
	assert_true(app->listen_is_default);
	assert_int_equal(app->n_listen, 2);
	assert_string_equal(addr_format(&app->listen[0], text), "0.0.0.0:0");
	assert_string_equal(addr_format(&app->listen[1], text), "[::]:0");
	assert_ptr_equal(app->balance, balancer_names[0]);
	assert_null(app->engine);
	assert_int_equal(app->connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT_MS);
	assert_int_equal(app->connect_retries, CONNECT_RETRIES_ALL);
	assert_int_equal(app->idle_timeout_ms, IDLE_TIMEOUT_DEFAULT_MS);
	assert_int_equal(app->half_close_timeout_ms, HALF_CLOSE_TIMEOUT_DEFAULT_MS);
	assert_int_equal(app->keepalive_ms, KEEPALIVE_DEFAULT_MS);
	assert_int_equal(app->max_connections, 0);
	assert_int_equal(app->max_queue, 0);
	assert_int_equal(app->max_per_source, 0);
	assert_int_equal(app->rate_per_source.n, 0);
	assert_int_equal(app->burst_per_source, 0);
	assert_int_equal(app->backlog, BACKLOG_DEFAULT);
	assert_int_equal(app->queue_timeout_ms, QUEUE_TIMEOUT_DEFAULT_MS);
	assert_int_equal(app->targets[0].max_connections, 0);
	assert_int_equal(app->targets[0].weight, 1);
	config_free(c);
}

/* Also when Defaults stand behind the apps. */
static void an_app_goes_before_defaults_and_these_before_what_is_built_in(void **state)
{
	struct config *c = parsed("{'Apps':[{" APP ",'IdleTimeout':'5s','Listen':['127.0.0.1']},"
				  "{'Name':'b','Ports':[2],'Targets':['h:1']}],"
				  "'Defaults':{'IdleTimeout':'7s','KeepAlive':'8s',"
				  "'Listen':['::1','127.0.0.2'],'Engine':'copy'}}");
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(c->apps[0].idle_timeout_ms, 5000);
	assert_int_equal(c->apps[1].idle_timeout_ms, 7000);
	assert_int_equal(c->apps[0].keepalive_ms, 8000);
	assert_int_equal(c->apps[0].connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT_MS);
	assert_int_equal(c->apps[0].n_listen, 1);
	assert_string_equal(addr_format(&c->apps[0].listen[0], text), "127.0.0.1:0");
	assert_int_equal(c->apps[1].n_listen, 2);
	assert_string_equal(addr_format(&c->apps[1].listen[1], text), "127.0.0.2:0");
	assert_false(c->apps[1].listen_is_default);
	assert_string_equal(c->apps[0].engine, "copy");
	assert_string_equal(c->engine, "auto");
	config_free(c);
}

static void everything_lands_in_its_field(void **state)
{
	struct config *c = parsed(
		"\xef\xbb\xbf{'Engine':'splice','Workers':3,'DrainTimeout':'1.5m','MaxConnections':12,"
		"'Log':{"
		"'Level':'debug','Format':'json','Output':'syslog','Access':false},"
		"'Sockmap':{'Flows':7,'BacklogKiB':64},'Admin':{'Socket':'/s'},"
		"'Apps':[{'Name':'\\u00e4 b','Ports':[9,'3-5',1e1,'7-7'],'Targets':["
		"{'Weight':256,'Address':'[::1]:80','MaxConnections':6},'Host.example:65535'],"
		"'Balance':'random','Engine':'copy','ConnectTimeout':'1ms',"
		"'ConnectRetries':0,'IdleTimeout':'0','HalfCloseTimeout':'0s',"
		"'KeepAlive':'9h','MaxConnections':4294967295,'MaxQueue':5,'QueueTimeout':'4s','Backlog':1,'MaxConnectionsPerSource':8,'ConnectionRatePerSource':'1000000/m','ConnectionBurstPerSource':9}]}");
	static const uint16_t ports[] = { 9, 3, 4, 5, 10, 7 };
	const struct app_conf *app = &c->apps[0];
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_string_equal(c->engine, "splice");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->drain_timeout_ms, 90000);
	assert_int_equal(c->max_connections, 12);
	assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->log.format, LOG_FORMAT_JSON);
	assert_int_equal(c->log.output, LOG_OUTPUT_SYSLOG);
	assert_false(c->access_log);
	assert_int_equal(c->sockmap_flows, 7);
	assert_int_equal(c->sockmap_backlog_kib, 64);
	assert_string_equal(c->admin_socket, "/s");
	assert_false(c->admin_socket_is_default);
	assert_string_equal(app->name, "\xc3\xa4 b");
	assert_int_equal(app->n_ports, ARRAY_SIZE(ports));
	assert_memory_equal(app->ports, ports, sizeof(ports));
	assert_true(app->targets[0].is_literal);
	assert_int_equal(app->targets[0].weight, 256);
	assert_string_equal(app->targets[0].text, "[::1]:80");
	assert_string_equal(addr_format(&app->targets[0].addr, text), "[::1]:80");
	assert_false(app->targets[1].is_literal);
	assert_string_equal(app->targets[1].at.host, "Host.example");
	assert_int_equal(app->targets[1].at.port, 65535);
	assert_string_equal(app->balance, "random");
	assert_string_equal(app->engine, "copy");
	assert_int_equal(app->connect_timeout_ms, 1);
	assert_int_equal(app->connect_retries, 0);
	assert_int_equal(app->idle_timeout_ms, 0);
	assert_int_equal(app->half_close_timeout_ms, 0);
	assert_int_equal(app->keepalive_ms, 9 * 3600 * 1000);
	assert_int_equal(app->max_connections, UINT32_MAX);
	assert_int_equal(app->max_queue, 5);
	assert_int_equal(app->max_per_source, 8);
	assert_int_equal(app->rate_per_source.n, 1000000);
	assert_int_equal(app->rate_per_source.per_ms, 60000);
	assert_int_equal(app->burst_per_source, 9);
	assert_int_equal(app->backlog, 1);
	assert_int_equal(app->queue_timeout_ms, 4000);
	assert_int_equal(app->targets[0].max_connections, 6);
	config_free(c);
}

static void durations_are_whole_milliseconds(void **state)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} good[] = { { "250ms", 250 },       { "2s", 2000 },   { "5m", 300000 },
		     { "1h", 3600000 },      { "1.5s", 1500 }, { "0.25h", 900000 },
		     { "576h", 2073600000 }, { "0", 0 },       { "0ms", 0 },
		     { "0.001s", 1 },        { "02s", 2000 } };
	static const char *const bad[] = { "577h",
					   "0.0001s",
					   "0.5ms",
					   "1h30m",
					   "2",
					   "",
					   "s",
					   "-1s",
					   " 1s",
					   "1s ",
					   "1 s",
					   "1S",
					   "1.s",
					   ".5s",
					   "1..5s",
					   "1.5.5s",
					   "1e3s",
					   "1d",
					   "1us",
					   "9999999999999h",
					   "1000000000000ms" };
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct config *c;

		snprintf(text, sizeof(text), "{'Apps':[{" APP ",'IdleTimeout':'%s'}]}",
			 good[i].text);
		c = parsed(text);
		assert_int_equal(c->apps[0].idle_timeout_ms, good[i].ms);
		config_free(c);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "{'Apps':[{" APP ",'IdleTimeout':'%s'}]}", bad[i]);
		refused(text, "f:1:66: app 'a': IdleTimeout is '...', must be ... such as '250ms'");
	}
}

static void the_admin_socket_is_a_path_that_fits_or_none(void **state)
{
	char path[ADMIN_SOCKET_MAX_BYTES + 2], text[256];
	struct config *c;

	(void)state;
	memset(path, '/', sizeof(path));
	path[ADMIN_SOCKET_MAX_BYTES] = '\0';
	snprintf(text, sizeof(text), "{'Admin':{'Socket':'%s'},'Apps':[{" APP "}]}", path);
	c = parsed(text);
	assert_string_equal(c->admin_socket, path);
	config_free(c);
	c = parsed("{'Admin':{'Socket':''},'Apps':[{" APP "}]}");
	assert_string_equal(c->admin_socket, "");
	assert_false(c->admin_socket_is_default);
	config_free(c);
	path[ADMIN_SOCKET_MAX_BYTES] = '/';
	path[ADMIN_SOCKET_MAX_BYTES + 1] = '\0';
	snprintf(text, sizeof(text), "{'Admin':{'Socket':'%s'},'Apps':[{" APP "}]}", path);
	refused(text, "f:1:20: Admin: Socket is '//...', must be ... at most 107 bytes");
}

static void metrics_are_on_the_loopback_if_only_a_port_is_given(void **state)
{
	static const struct {
		const char *value, *address;
	} good[] = {
		{ "9640", "127.0.0.1:9640" },
		{ "'127.0.0.2:2'", "127.0.0.2:2" },
		{ "'[::1]:65535'", "[::1]:65535" },
		{ "'0.0.0.0:80'", "0.0.0.0:80" },
		{ "''", "-" },
	};
	static const char *const bad[] = { "0",       "65536",       "9640.5",  "'9640'",
					   "':9640'", "'host:9640'", "'[::1]'", "'::1:9640'",
					   "true",    "[]" };
	char text[128], address[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct config *c;

		snprintf(text, sizeof(text), "{'Admin':{'Http':%s},'Apps':[{" APP "}]}",
			 good[i].value);
		c = parsed(text);
		assert_string_equal(addr_format(&c->admin_http, address), good[i].address);
		config_free(c);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "{'Admin':{'Http':%s},'Apps':[{" APP "}]}", bad[i]);
		refused(text,
			"f:1:18: Admin: Http is ..., must be ... '[::1]:9640', ... or '' for none");
	}
}

/* What would take minutes if any check were quadratic in apps, targets or ports. */
static void large_files_are_quick(void **state)
{
	char *text = xcalloc(1, CONFIG_FILE_MAX_BYTES), *end = text;
	uint64_t start = clock_ns();
	struct config *c;

	(void)state;
	end += sprintf(end, "{'Apps':[");
	for (int app = 0; app < 4000; app++) {
		end += sprintf(end, "%s{'Name':'app %d','Ports':['%d-%d'],'Targets':[",
			       app ? "," : "", app, 1 + 16 * app, 16 + 16 * app);
		for (int target = 0; target < 5; target++)
			end += sprintf(end, "%s'h%d.example:%d'", target ? "," : "", app,
				       target + 1);
		end += sprintf(end, "]}");
	}
	sprintf(end, "]}");
	c = parsed(text);
	assert_int_equal(c->n_apps, 4000);
	assert_int_equal(c->apps[3999].ports[15], 64000);
	config_free(c);
	free(text);
	assert_true(clock_ns() - start < 10 * NSEC_PER_SEC);
}

static void load(const char *path, struct config_errors *errors, char *got, size_t size)
{
	struct config_vocabulary v = vocabulary();

	assert_null(config_load(path, &v, errors));
	assert_int_equal(errors->n, 1);
	config_error_format(&errors->list[0], path, got, size);
	config_errors_free(errors);
}

static void what_cannot_be_read_is_told(void **state)
{
	struct config_errors errors;
	char got[1024];

	(void)state;
	load("/nonexistent/config.json", &errors, got, sizeof(got));
	assert_string_equal(got, "/nonexistent/config.json: cannot be read, must be a JSON file: "
				 "No such file or directory");
	load("/", &errors, got, sizeof(got));
	assert_string_equal(got, "/: cannot be read, must be a JSON file: Is a directory");
	load("/dev/zero", &errors, got, sizeof(got));
	assert_string_equal(got, "/dev/zero: is larger than 16 MiB, must be smaller");
	load("/dev/null", &errors, got, sizeof(got));
	assert_string_equal(got, "/dev/null: is empty, must hold a JSON object");
}

static void a_dash_reads_standard_input(void **state)
{
	struct config_vocabulary v = vocabulary();
	struct config_errors errors;
	struct config *c;
	int saved = dup(STDIN_FILENO), file = open("config.json", O_RDONLY);

	(void)state;
	assert_true(file >= 0 && dup2(file, STDIN_FILENO) == STDIN_FILENO);
	c = config_load("-", &v, &errors);
	assert_non_null(c);
	assert_int_equal(c->n_apps, 3);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	config_free(c);
	config_errors_free(&errors);
	close(file);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
}

static void level_names_are_those_of_the_log(void **state)
{
	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		char text[256];
		struct config *c;

		snprintf(text, sizeof(text), "{'Log':{'Level':'%s'},'Apps':[{" APP "}]}",
			 log_level_name((enum log_level)level));
		c = parsed(text);
		assert_int_equal(c->log.level, level);
		config_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_challenges_file_is_taken),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(an_app_goes_before_defaults_and_these_before_what_is_built_in),
		cmocka_unit_test(everything_lands_in_its_field),
		cmocka_unit_test(durations_are_whole_milliseconds),
		cmocka_unit_test(the_admin_socket_is_a_path_that_fits_or_none),
		cmocka_unit_test(metrics_are_on_the_loopback_if_only_a_port_is_given),
		cmocka_unit_test(large_files_are_quick),
		cmocka_unit_test(what_cannot_be_read_is_told),
		cmocka_unit_test(a_dash_reads_standard_input),
		cmocka_unit_test(level_names_are_those_of_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
