/* SPDX-License-Identifier: MIT */
/*
 * Who listens where, as the file alone says it: targets that lead back to their app are refused,
 * those that lead to another app are not; nor may an app be where the daemon itself listens.
 */
#include <time.h>

#include "config_text.h"

static void refused_or_taken(const char *text, const char *want)
{
	if (want)
		refused(text, want);
	else
		config_free(parsed(text));
}

/* The target of an app on port 1 of these addresses. */
static void a_target_is_not_the_apps_own_listener(void **state)
{
	static const char own[] =
		"f:2:1: app 'a': target ... is where the app itself listens (line "
		"1), must lead elsewhere";
	static const struct {
		const char *listen, *target, *want; /* NULL: taken */
	} rows[] = {
		{ "'0.0.0.0','::'", "127.0.0.1:1", own },
		{ "'0.0.0.0','::'", "127.255.0.9:1", own },
		{ "'0.0.0.0','::'", "[::1]:1", own },
		{ "'0.0.0.0'", "0.0.0.0:1", own }, /* the kernel takes the loopback for it */
		{ "'::'", "[::]:1", own },
		{ "'127.0.0.1'", "0.0.0.0:1", own },
		{ "'::1'", "[::]:1", own },
		{ "'0.0.0.0'", "[::ffff:127.0.0.1]:1", own },
		{ "'192.0.2.1'", "[::ffff:192.0.2.1]:1", own },
		{ "'127.0.0.1','127.0.0.2'", "127.0.0.2:1", own },
		{ "'192.0.2.1','2001:db8::1'", "192.0.2.1:1", own },
		{ "'192.0.2.1','2001:db8::1'", "[2001:db8:0::1]:1", own },
		{ "'fe80::1%1'", "[fe80::1%1]:1", own },
		{ "'::1','unix:/a'", "unix:/a", own },
		{ "'::1','unix:@a'", "unix:@a", own },
		/* Another port, another address, or one that the host may have or not. */
		{ "'0.0.0.0','::'", "127.0.0.1:2", NULL },
		{ "'0.0.0.0','::'", "192.0.2.1:1", NULL },
		{ "'0.0.0.0','::'", "[2001:db8::1]:1", NULL },
		{ "'0.0.0.0'", "[::1]:1", NULL },
		{ "'::'", "127.0.0.1:1", NULL },
		{ "'::'", "[::ffff:127.0.0.1]:1", NULL }, /* listeners are IPV6_V6ONLY */
		{ "'127.0.0.1'", "127.0.0.2:1", NULL },
		{ "'192.0.2.1'", "192.0.2.1:2", NULL },
		{ "'192.0.2.1'", "127.0.0.1:1", NULL },
		{ "'fe80::1%1'", "[fe80::1%2]:1", NULL },
		{ "'0.0.0.0','::'", "localhost:1", NULL },
		{ "'::1','unix:/a'", "unix:@a", NULL },
		{ "'::1','unix:/a'", "unix:/a/b", NULL },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text),
			 "{'Apps':[{'Name':'a','Ports':[1],'Listen':[%s],'Targets':['h:1',\n"
			 "{'Weight':2,'Address':'%s'}]}]}",
			 rows[i].listen, rows[i].target);
		refused_or_taken(text, rows[i].want);
	}
	refused("{'Defaults':{'Listen':['192.0.2.1']},\n"
		"'Apps':[{'Name':'a','Ports':['1-9'],'Targets':['192.0.2.1:5']}]}",
		"f:2:48: app 'a': target '192.0.2.1:5' is where the app itself");
	refused("{'Apps':[{'Name':'a','Ports':[1],'Targets':['127.0.0.1:1']}]}", /* the default */
		"f:1:45: app 'a': target '127.0.0.1:1' is where the app itself");
}

/* The targets of apps on the ports 1 to 4. */
static void targets_do_not_lead_round_in_a_circle(void **state)
{
	static const struct {
		const char *a, *b, *c, *d, *want;
	} rows[] = {
		{ "'127.0.0.1:2'", "'127.0.0.1:3'", "'127.0.0.1:4'", "'h:1'", NULL },
		{ "'127.0.0.1:2','127.0.0.1:3'", "'127.0.0.1:4'", "'[::1]:4'", "'h:1'", NULL },
		{ "'h:1'", "'127.0.0.1:1'", "'127.0.0.1:1','127.0.0.1:2'", "'[::1]:3'", NULL },
		{ "'127.0.0.1:2'", "'[::1]:1'", "'h:1'", "'127.0.0.1:1'",
		  "f:2:1: app 'b': target '[::1]:1' is where app 'a' listens (line 1), whose target "
		  "'127.0.0.1:2' (line 1) leads back here, must lead elsewhere" },
		{ "'127.0.0.1:2'", "'127.0.0.1:3'", "'h:1'",
		  "{'Weight':2,'Address':'h:1'},\n'127.0.0.1:1','127.0.0.1:4'",
		  "f:5:15: app 'd': target '127.0.0.1:4' is where the app itself" },
		{ "'h:1','127.0.0.1:4'", "'127.0.0.1:1'", "'h:1','[::1]:2'", "'h:1','127.0.0.1:3'",
		  "f:2:1: app 'b': target '127.0.0.1:1' is where app 'a' listens (line 1), whose "
		  "target '127.0.0.1:4' (line 1) leads back here" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text),
			 "{'Apps':[{'Name':'a','Ports':[1],'Targets':[%s]},{'Name':'b',"
			 "'Ports':[2],'Targets':[\n%s]},{'Name':'c','Ports':[3],'Targets':[\n%s]},"
			 "{'Name':'d','Ports':[4],'Targets':[\n%s]}]}",
			 rows[i].a, rows[i].b, rows[i].c, rows[i].d);
		refused_or_taken(text, rows[i].want);
	}
	refused("{'Apps':[{'Name':'a','Listen':['unix:/a'],'Targets':['unix:@b']},\n"
		"{'Name':'b','Listen':['unix:@b'],'Targets':['unix:/a']}]}",
		"f:2:45: app 'b': target 'unix:/a' is where app 'a' listens (line 1)");
}

/* An app for each port but the last, each with the next one's port as its target; then a circle. */
static void a_long_chain_is_taken_and_a_long_circle_is_not(void **state)
{
	enum { APPS = 60000 };
	char *text = xcalloc(APPS, 80), *end = text;

	(void)state;
	end += sprintf(end, "{'Defaults':{'Listen':['127.0.0.1']},'Apps':[");
	for (int i = 1; i <= APPS; i++)
		end += sprintf(end, "%s{'Name':'%d','Ports':[%d],'Targets':['127.0.0.1:%d']}\n",
			       i > 1 ? "," : "", i, i, i + 1);
	strcpy(end, "]}");
	config_free(parsed(text));
	strcpy(strrchr(text, ':') + 1, "1']}]}");
	refused(text,
		"f:60000:...: app '60000': target '127.0.0.1:1' is where app '1' listens (line "
		"1), whose target '127.0.0.1:2' (line 1) leads back here");
	free(text);
}

/* 2,000 apps of ten targets, with almost as many listeners as there may be: a look at each of them
 * for each target would take minutes. */
static void many_targets_and_listeners_take_no_time(void **state)
{
	enum { APPS = 2000, PORTS = 32, ADDRESSES = 16 };
	char *text = xcalloc(APPS, 512), *end = text;
	struct timespec from, to;

	(void)state;
	end += sprintf(end, "{'Defaults':{'Listen':['127.0.0.1'");
	for (int i = 2; i <= ADDRESSES; i++)
		end += sprintf(end, ",'127.0.0.%d'", i);
	end += sprintf(end, "]},'Apps':[");
	for (int i = 0; i < APPS; i++) {
		end += sprintf(end, "%s{'Name':'%d','Ports':['%d-%d'],'Targets':[", i ? "," : "", i,
			       1 + i * PORTS, PORTS + i * PORTS);
		for (int t = 0; t < 10; t++)
			end += sprintf(end, "%s'127.0.0.%d:%d'", t ? "," : "", 1 + t,
				       1 + (i + 1) * PORTS);
		end += sprintf(end, "]}");
	}
	strcpy(end, "]}");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	config_free(parsed(text));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_in_range(to.tv_sec - from.tv_sec, 0, 9);
	free(text);
}

static void an_app_is_not_where_the_daemon_listens(void **state)
{
	static const struct {
		const char *admin, *app, *want;
	} rows[] = {
		{ "'Http':9640", "'Ports':[9640]",
		  "f:1:18: Admin: Http 127.0.0.1:9640 is where app 'a' listens (line 2), must be another" },
		{ "'Http':9640", "'Ports':['9000-9999'],'Listen':['127.0.0.1']",
		  "f:1:18: Admin: Http 127.0.0.1:9640 is where app 'a'" },
		{ "'Http':'[::1]:9640'", "'Ports':[9640]", "f:1:18: Admin: Http [::1]:9640 is" },
		{ "'Http':'0.0.0.0:9640'", "'Ports':[1,9640],'Listen':['192.0.2.1','192.0.2.2']",
		  "f:1:18: Admin: Http 0.0.0.0:9640 is where app 'a' listens" },
		{ "'Http':'[::]:9640'", "'Ports':[9640],'Listen':['::1']", "f:1:18: Admin: Http" },
		{ "'Http':'192.0.2.1:9640'", "'Ports':[9640],'Listen':['192.0.2.2']", NULL },
		{ "'Http':9640", "'Ports':[9640],'Listen':['::']", NULL },
		{ "'Http':'0.0.0.0:9640'", "'Ports':[9639,9641]", NULL },
		{ "'Http':'0.0.0.0:9640'", "'Ports':[9640],'Listen':['::']", NULL },
		{ "'Http':''", "'Ports':[9640]", NULL },
		{ "'Socket':'/s'", "'Listen':['unix:/s']",
		  "f:1:20: Admin: Socket '/s' is where app 'a' listens (line 2), must be another" },
		{ "'Socket':'/s'", "'Listen':['unix:@/s','unix:/s/s']", NULL },
		{ "'Socket':''", "'Listen':['unix:/run/shunt/admin.sock']", NULL },
		{ "", "'Listen':['unix:/run/shunt/admin.sock']",
		  "f:2:9: app 'a': unix:/run/shunt/admin.sock is the default of Admin.Socket, must be "
		  "another" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text),
			 "{'Admin':{%s},\n'Apps':[{'Name':'a','Targets':['h:1'],%s}]}",
			 rows[i].admin, rows[i].app);
		refused_or_taken(text, rows[i].want);
	}
	/* To lead there is something else. */
	config_free(parsed("{'Admin':{'Http':9640,'Socket':'/s'},'Apps':[{'Name':'a','Ports':[1],"
			   "'Targets':['unix:/s','127.0.0.1:9640']}]}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_target_is_not_the_apps_own_listener),
		cmocka_unit_test(targets_do_not_lead_round_in_a_circle),
		cmocka_unit_test(a_long_chain_is_taken_and_a_long_circle_is_not),
		cmocka_unit_test(many_targets_and_listeners_take_no_time),
		cmocka_unit_test(an_app_is_not_where_the_daemon_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
