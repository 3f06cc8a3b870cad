/* SPDX-License-Identifier: MIT */
/* What is told of two configurations: each key, each list, each app, and nothing else. */
#include "config_text.h"

#include "config_diff.h"

#define MANY_APPS 2000
#define TARGETS_EACH 10

/* Two configs and what is between them. */
struct change_of {
	struct config *was, *now;
	const struct app_conf **was_apps;
	struct config_diff diff;
};

static void compare(struct change_of *c, const char *was, const char *now)
{
	c->was = parsed(was);
	c->now = parsed(now);
	c->was_apps = xcalloc(c->was->n_apps, sizeof(*c->was_apps));
	for (size_t i = 0; i < c->was->n_apps; i++)
		c->was_apps[i] = &c->was->apps[i];
	config_diff(c->was, c->was_apps, c->was->n_apps, c->now, &c->diff);
}

static void forget(struct change_of *c)
{
	config_diff_free(&c->diff);
	free(c->was_apps);
	config_free(c->was);
	config_free(c->now);
}

/* "changed a ConnectTimeout 2s -> 1s", "added - Log.Level - -> debug !". Returns buf. */
static const char *said(const struct config_change *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s %s %s -> %s%s", config_change_names[c->kind],
		 c->app ? c->app : "-", c->key ? c->key : "-", c->from ? c->from : "-",
		 c->to ? c->to : "-", c->needs_restart ? " !" : "");
	return buf;
}

static void says(const char *was, const char *now, const char *const *lines, size_t n)
{
	struct change_of c;
	char text[256];

	compare(&c, was, now);
	for (size_t i = 0; i < MIN(n, c.diff.n); i++)
		assert_string_equal(said(&c.diff.list[i], text, sizeof(text)), lines[i]);
	assert_int_equal(c.diff.n, n);
	forget(&c);
}

/* An app with something added to it, in a document with something added to that. */
#define OF_APP(keys) "{'Apps':[{" APP "," keys "}]}"
#define OF_CONFIG(keys) "{" keys ",'Apps':[{" APP "}]}"
#define PLAIN "{'Apps':[{" APP "}]}"

/* A row for each key that has a value of its own: adding a key is adding one here. */
static const struct {
	const char *object, *key, *document, *line;
} keys[] = {
	{ "Apps[]", "Ports", "{'Apps':[{'Name':'a','Ports':[2],'Targets':['h:1']}]}", NULL },
	{ "Apps[]", "Targets", "{'Apps':[{'Name':'a','Ports':[1],'Targets':['i:1']}]}", NULL },
	{ "Apps[]", "Listen", OF_APP("'Listen':['0.0.0.0']"), "removed a Listen [::] -> -" },
	{ "Apps[]", "ListenMode", OF_APP("'ListenMode':'0600'"),
	  "changed a ListenMode 0660 -> 0600" },
	{ "Apps[]", "Balance", OF_APP("'Balance':'random'"), "changed a Balance p2c -> random" },
	{ "Apps[]", "Engine", OF_APP("'Engine':'copy'"), "changed a Engine auto -> copy" },
	{ "Apps[]", "Wire", OF_APP("'Wire':false"), "changed a Wire true -> false" },
	{ "Apps[]", "LocalBypass", OF_APP("'LocalBypass':true"),
	  "changed a LocalBypass false -> true" },
	{ "Apps[]", "ConnectTimeout", OF_APP("'ConnectTimeout':'1500ms'"),
	  "changed a ConnectTimeout 2s -> 1500ms" },
	{ "Apps[]", "ConnectRetries", OF_APP("'ConnectRetries':0"),
	  "changed a ConnectRetries all -> 0" },
	{ "Apps[]", "IdleTimeout", OF_APP("'IdleTimeout':'90m'"),
	  "changed a IdleTimeout 1h -> 90m" },
	{ "Apps[]", "HalfCloseTimeout", OF_APP("'HalfCloseTimeout':'0'"),
	  "changed a HalfCloseTimeout 30s -> 0" },
	{ "Apps[]", "KeepAlive", OF_APP("'KeepAlive':'2m'"), "changed a KeepAlive 1m -> 2m" },
	{ "Apps[]", "MaxConnections", OF_APP("'MaxConnections':7"),
	  "changed a MaxConnections 0 -> 7" },
	{ "Apps[]", "MaxQueue", OF_APP("'MaxQueue':7"), "changed a MaxQueue 0 -> 7" },
	{ "Apps[]", "QueueTimeout", OF_APP("'QueueTimeout':'1s'"),
	  "changed a QueueTimeout 5s -> 1s" },
	{ "Apps[]", "MaxConnectionsPerSource", OF_APP("'MaxConnectionsPerSource':7"),
	  "changed a MaxConnectionsPerSource 0 -> 7" },
	{ "Apps[]", "ConnectionRatePerSource", OF_APP("'ConnectionRatePerSource':'060/h'"),
	  "changed a ConnectionRatePerSource 0 -> 60/h" },
	{ "Apps[]", "ConnectionBurstPerSource", OF_APP("'ConnectionBurstPerSource':7"),
	  "changed a ConnectionBurstPerSource 0 -> 7" },
	{ "Apps[]", "Backlog", OF_APP("'Backlog':7"), "changed a Backlog 4096 -> 7" },
	{ "Apps[]", "SourceAddresses", OF_APP("'SourceAddresses':['192.0.2.1']"),
	  "added a SourceAddresses - -> 192.0.2.1" },
	{ "Apps[]", "Transparent", OF_APP("'Transparent':true"),
	  "changed a Transparent false -> true" },
	{ "Apps[].ProxyProtocol", "Accept",
	  OF_APP("'ProxyProtocol':{'Accept':'on','TrustedFrom':['::/0']}"),
	  "changed a ProxyProtocol.Accept off -> on" },
	{ "Apps[].ProxyProtocol", "Send", OF_APP("'ProxyProtocol':{'Send':'v1'}"),
	  "changed a ProxyProtocol.Send off -> v1" },
	{ "Apps[].ProxyProtocol", "TrustedFrom",
	  OF_APP("'ProxyProtocol':{'TrustedFrom':['10.0.0.0/8']}"),
	  "added a ProxyProtocol.TrustedFrom - -> 10.0.0.0/8" },
	{ "Apps[].ProxyProtocol", "Timeout", OF_APP("'ProxyProtocol':{'Timeout':'4s'}"),
	  "changed a ProxyProtocol.Timeout 3s -> 4s" },
	{ "Apps[].Targets[]", "Weight",
	  "{'Apps':[{'Name':'a','Ports':[1],'Targets':[{'Address':'h:1','Weight':9}]}]}",
	  "changed a Targets[h:1].Weight 1 -> 9" },
	{ "Apps[].Targets[]", "MaxConnections",
	  "{'Apps':[{'Name':'a','Ports':[1],'Targets':[{'Address':'h:1','MaxConnections':9}]}]}",
	  "changed a Targets[h:1].MaxConnections 0 -> 9" },
	{ "", "Engine", OF_CONFIG("'Engine':'splice'"), "changed - Engine auto -> splice" },
	{ "", "Workers", OF_CONFIG("'Workers':3"), "changed - Workers 0 -> 3 !" },
	{ "", "DrainTimeout", OF_CONFIG("'DrainTimeout':'5m'"), "changed - DrainTimeout 0 -> 5m" },
	{ "", "MaxConnections", OF_CONFIG("'MaxConnections':9"),
	  "changed - MaxConnections 0 -> 9" },
	{ "Log", "Level", OF_CONFIG("'Log':{'Level':'debug'}"),
	  "changed - Log.Level info -> debug" },
	{ "Log", "Format", OF_CONFIG("'Log':{'Format':'json'}"),
	  "changed - Log.Format text -> json" },
	{ "Log", "Output", OF_CONFIG("'Log':{'Output':'syslog'}"),
	  "changed - Log.Output stderr -> syslog" },
	{ "Log", "File", OF_CONFIG("'Log':{'File':'/l'}"),
	  "changed - Log.File /var/log/shunt/shunt.log -> /l !" },
	{ "Log", "Access", OF_CONFIG("'Log':{'Access':false}"),
	  "changed - Log.Access true -> false" },
	{ "Sockmap", "Flows", OF_CONFIG("'Sockmap':{'Flows':5}"),
	  "changed - Sockmap.Flows 16384 -> 5 !" },
	{ "Apps[]", "HealthCheck", OF_APP("'HealthCheck':{}"), "changed a HealthCheck off -> on" },
	{ "Apps[]", "SlowStart", OF_APP("'SlowStart':'1m'"), "changed a SlowStart 0 -> 1m" },
	{ "Apps[]", "OnDown", OF_APP("'OnDown':'close'"), "changed a OnDown keep -> close" },
	{ "Sockmap", "BacklogKiB", OF_CONFIG("'Sockmap':{'BacklogKiB':5}"),
	  "changed - Sockmap.BacklogKiB 1024 -> 5 !" },
	{ "Wire", "Flows", OF_CONFIG("'Wire':{'Flows':5}"), "changed - Wire.Flows 32768 -> 5 !" },
	{ "Wire", "Devices", OF_CONFIG("'Wire':{'Devices':['eth0','eth1']}"),
	  "changed - Wire.Devices  -> eth0, eth1 !" },
	{ "Wire", "AtStop", OF_CONFIG("'Wire':{'AtStop':'leave'}"),
	  "changed - Wire.AtStop drain -> leave !" },
	{ "Wire", "Pins", OF_CONFIG("'Wire':{'Pins':'/a'}"),
	  "changed - Wire.Pins /sys/fs/bpf/shunt/wire -> /a !" },
	{ "Bypass", "Cgroup", OF_CONFIG("'Bypass':{'Cgroup':'/c'}"),
	  "changed - Bypass.Cgroup  -> /c !" },
	{ "Bypass", "Flows", OF_CONFIG("'Bypass':{'Flows':5}"),
	  "changed - Bypass.Flows 16384 -> 5 !" },
	{ "Bypass", "UnreadKiB", OF_CONFIG("'Bypass':{'UnreadKiB':5}"),
	  "changed - Bypass.UnreadKiB 1024 -> 5 !" },
	{ "Admin", "Socket", OF_CONFIG("'Admin':{'Socket':'/a'}"),
	  "changed - Admin.Socket /run/shunt/admin.sock -> /a !" },
	{ "Admin", "Http", OF_CONFIG("'Admin':{'Http':9640}"),
	  "changed - Admin.Http - -> 127.0.0.1:9640 !" },
};

/* Of a health check that is there before and after. */
static const struct {
	const char *key, *document, *line;
} health_keys[] = {
	{ "Interval", OF_APP("'HealthCheck':{'Interval':'1s'}"),
	  "changed a HealthCheck.Interval 2s -> 1s" },
	{ "Timeout", OF_APP("'HealthCheck':{'Timeout':'2s'}"),
	  "changed a HealthCheck.Timeout 1s -> 2s" },
	{ "Rise", OF_APP("'HealthCheck':{'Rise':1}"), "changed a HealthCheck.Rise 2 -> 1" },
	{ "Fall", OF_APP("'HealthCheck':{'Fall':1}"), "changed a HealthCheck.Fall 3 -> 1" },
	{ "Port", OF_APP("'HealthCheck':{'Port':81}"), "changed a HealthCheck.Port 0 -> 81" },
	{ "Send", OF_APP("'HealthCheck':{'Send':'A\\\\\\\\\\r'}"),
	  "changed a HealthCheck.Send  -> A\\\\\\x0d" },
	{ "Expect", OF_APP("'HealthCheck':{'Expect':'\\\\x00'}"),
	  "changed a HealthCheck.Expect  -> \\x00" },
};

static void each_key_of_a_health_check_is_compared(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(health_keys); i++)
		says(OF_APP("'HealthCheck':{}"), health_keys[i].document, &health_keys[i].line, 1);
	says(OF_APP("'HealthCheck':{}"), OF_APP("'HealthCheck':{'Rise':2}"), NULL, 0);
}

static void each_key_is_compared(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct change_of c;
		char text[256];

		compare(&c, PLAIN, keys[i].document);
		if (!c.diff.n)
			fail_msg("%s is not compared", keys[i].key);
		if (keys[i].line)
			assert_string_equal(said(&c.diff.list[0], text, sizeof(text)),
					    keys[i].line);
		forget(&c);
	}
}

static void has_a_row(const char *object, const char *key, void *arg)
{
	/* Sections have the keys, and names tell what is compared with what; a default is seen in
	 * the apps that have it. */
	static const struct {
		const char *object, *key;
	} others[] = {
		{ "", "Log" },
		{ "", "Sockmap" },
		{ "", "Wire" },
		{ "", "Bypass" },
		{ "", "Admin" },
		{ "", "Defaults" },
		{ "", "Apps" },
		{ "Apps[]", "Name" },
		{ "Apps[].Targets[]", "Address" },
		{ "Apps[]", "ProxyProtocol" },
	};

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(others[i].object, object) && !strcmp(others[i].key, key))
			return;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].object, object) && !strcmp(keys[i].key, key))
			return;
	for (size_t i = 0; i < ARRAY_SIZE(health_keys); i++)
		if (!strcmp("Apps[].HealthCheck", object) && !strcmp(health_keys[i].key, key))
			return;
	if (strcmp(object, "Defaults"))
		fail_msg("no row for %s of \"%s\"", key, object);
}

static void no_key_is_forgotten_here(void **state)
{
	(void)state;
	config_each_key(has_a_row, NULL);
}

static void the_same_in_another_order_is_no_change(void **state)
{
	(void)state;
	says("{'Apps':[{'Name':'a','Ports':['1-3'],'Targets':['h:1','h:2'],'Listen':['::1','127.0.0.1']},"
	     "{'Name':'b','Ports':[4],'Targets':['h:1']}]}",
	     "{'Apps':[{'Name':'b','Targets':[{'Address':'h:1'}],'Ports':[4],'IdleTimeout':'60m'},"
	     "{'Name':'a','Ports':[3,2,1],'Targets':['h:2','h:1'],'Listen':['127.0.0.1','::1']}],"
	     "'Log':{}}",
	     NULL, 0);
}

static void lists_are_told_by_what_has_come_and_gone(void **state)
{
	static const char *const lines[] = {
		"removed a Ports 1-3 -> -",
		"removed a Ports 8 -> -",
		"added a Ports - -> 9",
		"added a Ports - -> 11-12",
		"removed a Listen 127.0.0.1 -> -",
		"added a Listen - -> [::1]",
		"removed a Listen unix:/a -> -",
		"added a Listen - -> unix:@c",
		"added a Targets - -> h:1",
		"removed a Targets h:3 -> -",
		"changed a Targets[h:4].Weight 2 -> 1",
		"removed a ProxyProtocol.TrustedFrom 10.0.0.0/8 -> -",
		"added a ProxyProtocol.TrustedFrom - -> 10.0.0.0/9",
	};

	(void)state;
	says("{'Apps':[{'Name':'a','Ports':['1-5',8,10],'Listen':['127.0.0.1','unix:/a','unix:/b'],"
	     "'Targets':['h:2','h:3',{'Address':'h:4','Weight':2}],"
	     "'ProxyProtocol':{'TrustedFrom':['::1','10.0.0.0/8']}}]}",
	     "{'Apps':[{'Name':'a','Ports':['9-12',5,4],'Listen':['unix:/b','unix:@c','::1'],"
	     "'Targets':['h:4','h:1','h:2'],"
	     "'ProxyProtocol':{'TrustedFrom':['10.0.0.0/9','::1']}}]}",
	     lines, ARRAY_SIZE(lines));
}

static void apps_come_and_go_by_name(void **state)
{
	struct change_of c;
	char text[256];

	(void)state;
	compare(&c,
		"{'Apps':[{'Name':'a','Ports':[1],'Targets':['h:1']},"
		"{'Name':'b','Ports':[2],'Targets':['h:1']},"
		"{'Name':'c','Ports':[3],'Targets':['h:1']}]}",
		"{'Apps':[{'Name':'c','Ports':[3],'Targets':['h:1'],'Balance':'random'},"
		"{'Name':'d','Ports':[2],'Targets':['h:1']},"
		"{'Name':'a','Ports':[1],'Targets':['h:1']}]}");
	assert_int_equal(c.diff.n, 3);
	assert_string_equal(said(&c.diff.list[0], text, sizeof(text)),
			    "changed c Balance p2c -> random");
	assert_string_equal(said(&c.diff.list[1], text, sizeof(text)), "added d - - -> -");
	assert_string_equal(said(&c.diff.list[2], text, sizeof(text)), "removed b - - -> -");
	assert_int_equal(c.diff.match[0].before, 2);
	assert_true(c.diff.match[0].changed);
	assert_true(c.diff.match[1].before == CONFIG_DIFF_NEW);
	assert_int_equal(c.diff.match[2].before, 0);
	assert_false(c.diff.match[2].changed);
	assert_int_equal(c.diff.added, 1);
	assert_int_equal(c.diff.removed, 1);
	assert_int_equal(c.diff.changed, 1);
	forget(&c);
}

static void a_default_is_seen_in_the_apps_that_have_it(void **state)
{
	static const char *const lines[] = { "changed - Engine auto -> copy",
					     "changed a Engine auto -> copy",
					     "changed a IdleTimeout 1h -> 5s" };

	(void)state;
	says("{'Apps':[{" APP "},{'Name':'b','Ports':[2],'Targets':['h:1'],'Engine':'splice',"
	     "'IdleTimeout':'1m'}]}",
	     "{'Engine':'copy','Defaults':{'IdleTimeout':'5s'},'Apps':[{" APP "},"
	     "{'Name':'b','Ports':[2],'Targets':['h:1'],'Engine':'splice','IdleTimeout':'1m'}]}",
	     lines, ARRAY_SIZE(lines));
}

/* What a reload leaves to a restart is told by the next reload, too. */
static void what_is_live_is_adopted_and_the_rest_is_told_again(void **state)
{
	struct change_of c;
	struct config_diff again;

	(void)state;
	compare(&c, PLAIN,
		OF_CONFIG(
			"'Engine':'copy','Workers':3,'DrainTimeout':'1s','Log':{'Level':'error',"
			"'Format':'json','Output':'syslog','Access':false},'Sockmap':{'Flows':9}"));
	config_adopt_live(c.was, c.now);
	assert_string_equal(c.was->engine, "copy");
	assert_int_equal(c.was->log.output, LOG_OUTPUT_SYSLOG);
	assert_false(c.was->access_log);
	config_diff(c.was, c.was_apps, 1, c.now, &again);
	assert_int_equal(again.n, 2);
	assert_int_equal(again.need_restart, 2);
	assert_string_equal(again.list[0].key, "Workers");
	assert_string_equal(again.list[1].key, "Sockmap.Flows");
	config_diff_free(&again);
	forget(&c);
}

/* Later they stand in the opposite order, and every tenth app has one target more. */
static char *many_apps(bool later)
{
	char *text = xcalloc(MANY_APPS, 64 + 32 * (TARGETS_EACH + 1));
	int len = sprintf(text, "{'Apps':[");

	for (int k = 0; k < MANY_APPS; k++) {
		int i = later ? MANY_APPS - 1 - k : k;
		int n = TARGETS_EACH + (later && i % 10 == 0);

		len += sprintf(text + len, "%s{'Name':'app %d','Ports':[%d],'Targets':[",
			       k ? "," : "", i, i + 1);
		for (int t = 0; t < n; t++)
			len += sprintf(text + len, "%s'10.0.%d.%d:80'", t ? "," : "", t, i % 250);
		len += sprintf(text + len, "]}");
	}
	strcpy(text + len, "]}");
	return text;
}

static void of_two_thousand_apps_those_that_changed_are_told(void **state)
{
	char *was = many_apps(false), *now = many_apps(true);
	struct change_of c;

	(void)state;
	compare(&c, was, now);
	assert_int_equal(c.diff.n, MANY_APPS / 10);
	assert_int_equal(c.diff.changed, MANY_APPS / 10);
	assert_int_equal(c.diff.added + c.diff.removed, 0);
	for (size_t i = 0; i < MANY_APPS; i++) {
		size_t before = MANY_APPS - 1 - i;

		assert_int_equal(c.diff.match[i].before, before);
		assert_int_equal(c.diff.match[i].changed, before % 10 == 0);
	}
	forget(&c);
	free(was);
	free(now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_is_compared),
		cmocka_unit_test(each_key_of_a_health_check_is_compared),
		cmocka_unit_test(no_key_is_forgotten_here),
		cmocka_unit_test(the_same_in_another_order_is_no_change),
		cmocka_unit_test(lists_are_told_by_what_has_come_and_gone),
		cmocka_unit_test(apps_come_and_go_by_name),
		cmocka_unit_test(a_default_is_seen_in_the_apps_that_have_it),
		cmocka_unit_test(what_is_live_is_adopted_and_the_rest_is_told_again),
		cmocka_unit_test(of_two_thousand_apps_those_that_changed_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
