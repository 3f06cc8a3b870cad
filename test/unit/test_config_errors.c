/* SPDX-License-Identifier: MIT */
/*
 * The configuration that is refused: each mistake is told with its place and in words that say what
 * would be right, and all of them at once.
 */
#include "config_text.h"

static const struct {
	const char *text, *want;
} documents[] = {
	/* the document */
	{ "[]", "f:1:1: the document is an array, must be an object" },
	{ " 7", "f:1:2: the document is a number" },
	{ "{}", "f:1:1: Apps is missing, must be an array of apps" },
	{ "{'Apps': []}", "f:1:10: Apps is empty, must be an array of apps, at least one" },
	{ "{'Apps': {}}", "f:1:10: Apps is an object, must be an array" },
	{ "{'Apps': [null]}", "f:1:11: app 1: this is null, must be an object with Name" },
	{ "{'apps':1,'Apps':[{" APP "}]}", "f:1:2: 'apps' is no key here, did you mean 'Apps'?" },
	{ "{'Quux':1,'Apps':[{" APP "}]}",
	  "f:1:2: 'Quux' is no key here, must be one of: Engine...Log, Sockmap, Wire, Bypass, Admin, Defaults, Apps" },
	{ "{'\\u001b[2J':1,'Apps':[{" APP "}]}", "f:1:2: '\\x1b[2J' is no key" },
	{ "{'Workers':1,\n'Workers':2,'Apps':[{" APP "}]}",
	  "f:2:1: Workers is given twice (first in line 1), must be given once" },
	{ "{'Workers':257,'Apps':[{" APP "}]}",
	  "f:1:12: Workers is 257, must be a whole number from 0 to 256" },
	{ "{'Workers':1.5,'Apps':[{" APP "}]}", "f:1:12: Workers is 1.5, must be a whole" },
	{ "{'Workers':-1,'Apps':[{" APP "}]}", "f:1:12: Workers is -1, must be" },
	{ "{'Workers':1e999,'Apps':[{" APP "}]}", "f:1:12: Workers is inf, must be" },
	{ "{'Workers':'4','Apps':[{" APP "}]}",
	  "f:1:12: Workers is a string, must be a whole number from 0 to 256" },
	{ "{'DrainTimeout':30,'Apps':[{" APP "}]}",
	  "f:1:17: DrainTimeout is a number, must be a string such as ... or '0' for none" },
	{ "{'Engine':'spilce','Apps':[{" APP "}]}",
	  "f:1:11: Engine is 'spilce', must be one of: auto, copy, splice, sockmap, wire; did you mean 'splice'?" },
	/* Log and Defaults */
	{ "{'Log':[],'Apps':[{" APP "}]}", "f:1:8: Log is an array, must be an object" },
	{ "{'Log':{'Level':'warn'},'Apps':[{" APP "}]}",
	  "f:1:17: Log: Level is 'warn', must be one of: error, warning, notice, info, debug" },
	{ "{'Log':{'Access':1},'Apps':[{" APP "}]}",
	  "f:1:18: Log: Access is a number, must be true or false" },
	{ "{'Log':{'level':'info'},'Apps':[{" APP "}]}",
	  "f:1:9: Log: 'level' is no key here, did you mean 'Level'?" },
	{ "{'Admin':'/s','Apps':[{" APP "}]}", "f:1:10: Admin is a string, must be an object" },
	{ "{'Admin':{'socket':'/s'},'Apps':[{" APP "}]}",
	  "f:1:11: Admin: 'socket' is no key here, did you mean 'Socket'?" },
	{ "{'Admin':{'Socket':'s'},'Apps':[{" APP "}]}",
	  "f:1:20: Admin: Socket is 's', must be an absolute path ... or '' for no socket" },
	{ "{'Admin':{'Http':'[fe80::1]:9640'},'Apps':[{" APP "}]}",
	  "f:1:18: Admin: Http is '[fe80::1]:9640', must be ... with its interface" },
	{ "{'Admin':{'Socket':'/s\\n'},'Apps':[{" APP "}]}",
	  "f:1:20: Admin: Socket is '/s\\x0a', must be without control characters" },
	{ "{'Log':{'File':'/\\u0007'},'Apps':[{" APP "}]}",
	  "f:1:16: Log: File is '/\\x07', must be without control characters" },
	{ "{'Wire':{'Pins':'/\\n'},'Apps':[{" APP "}]}",
	  "f:1:17: Wire: Pins is '/\\x0a', must be without control characters" },
	{ "{'Bypass':{'Cgroup':'/\\n'},'Apps':[{" APP "}]}",
	  "f:1:21: Bypass: Cgroup is '/\\x0a', must be without control characters" },
	{ "{'Defaults':1,'Apps':[{" APP "}]}", "f:1:13: Defaults is a number, must be an object" },
	{ "{'Defaults':{'Ports':[1]},'Apps':[{" APP "}]}",
	  "f:1:14: Defaults: 'Ports' is no key here, must be one of: Listen, ListenMode, Balance" },
	/* members of an app, seen from its start */
	{ "{'Apps':[{'Ports':[1],'Targets':['h:1']}]}", "f:1:10: app 1: Name is missing" },
	{ "{'Apps':[{'Name':'','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app '': Name is '', must be 1 to 64 printable characters" },
	{ "{'Apps':[{'Name':'a ','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 'a ': Name is 'a ', must be ... without blanks at the ends" },
	{ "{'Apps':[{'Name':'a\\nb','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 'a\\x0ab': Name is" },
	{ "{'Apps':[{'Name':'a\\u009bb','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 'a\\xc2\\x9bb': Name is" },
	{ "{'Apps':[{'Name':'a\\u202eb','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 'a\\xe2\\x80\\xaeb': Name is ... none of them invisible" },
	{ "{'Apps':[{'Name':'\\u200b','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app '\\xe2\\x80\\x8b': Name is" },
	{ "{'Apps':[{'Name':'a\\u00a0','Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 'a\u00a0': Name is ... without blanks at the ends" },
	{ "{'Apps':[{'Name':7,'Ports':[1],'Targets':['h:1']}]}",
	  "f:1:18: app 1: Name is a number, must be" },
	{ "{'Apps':[{" APP "},\n{'Ports':[2],'Name':'a','Targets':['h:1']}]}",
	  "f:2:21: app name 'a' is given twice (first in line 1)" },
	{ "{'Apps':[{'Name':'a','Targets':['h:1']}]}",
	  "f:1:10: app 'a': Ports is missing, must be an array of ports...'6200-6210'" },
	{ "{'Apps':[{'Name':'a','Ports':[1]}]}", "f:1:10: app 'a': Targets is missing" },
};

static void a_wrong_document_is_refused_where_it_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
		refused(documents[i].text, documents[i].want);
}

/* Each is the inside of {'Apps':[{...}]}, whose first column is the 11th. */
static const struct {
	const char *members, *want;
} apps[] = {
	/* ports */
	{ "'Name':'a','Ports':'1','Targets':['h:1']",
	  "f:1:30: app 'a': Ports is a string, must be an array of ports" },
	{ "'Name':'a','Ports':[],'Targets':['h:1']",
	  "f:1:30: app 'a': Ports is empty, must be an array of ports ... at least one" },
	{ "'Name':'a','Ports':[1,0],'Targets':['h:1']",
	  "f:1:33: app 'a': a port is 0, must be a whole number from 1 to 65535" },
	{ "'Name':'a','Ports':[65536],'Targets':['h:1']",
	  "f:1:31: app 'a': a port is 65536, must be" },
	{ "'Name':'a','Ports':[80.5],'Targets':['h:1']",
	  "f:1:31: app 'a': a port is 80.5, must be" },
	{ "'Name':'a','Ports':[true],'Targets':['h:1']",
	  "f:1:31: app 'a': a port is a boolean, must be" },
	{ "'Name':'a','Ports':['80'],'Targets':['h:1']",
	  "f:1:31: app 'a': a range of ports is '80', must be two ports ... without quotes" },
	{ "'Name':'a','Ports':['9-8'],'Targets':['h:1']",
	  "f:1:31: app 'a': a range of ports is '9-8', must be ... the lower one first" },
	{ "'Name':'a','Ports':['1-65536'],'Targets':['h:1']",
	  "f:1:31: app 'a': a range of ports is '1-65536', must be" },
	{ "'Name':'a','Ports':['0-9'],'Targets':['h:1']", "f:1:31: app 'a': a range of ports" },
	{ "'Name':'a','Ports':['1 - 9'],'Targets':['h:1']", "f:1:31: app 'a': a range of ports" },
	{ "'Name':'a','Ports':[5,\n'3-7'],'Targets':['h:1']",
	  "f:2:1: app 'a': port 5 is given twice (first in line 1), must be given once" },
	/* addresses */
	{ APP ",'Listen':[]", "f:1:61: app 'a': Listen is empty, must be" },
	{ APP ",'Listen':'::'",
	  "f:1:61: app 'a': Listen is a string, must be an array of addresses" },
	{ APP ",'Listen':[1]", "f:1:62: app 'a': a Listen address is a number" },
	{ APP ",'Listen':['localhost']",
	  "f:1:62: app 'a': a Listen address is 'localhost', must be an address" },
	{ APP ",'Listen':['::1','0::1']",
	  "f:1:68: app 'a': Listen address '[::1]' is given twice" },
	{ APP ",'Listen':['fe80::1']",
	  "f:1:62: app 'a': a Listen address is 'fe80::1', must be with its interface...%eth0'" },
	{ APP ",'Listen':['unix:/','::1']",
	  "f:1:62: app 'a': a Listen address 'unix:/': no path after" },
	{ APP ",'Listen':['unix:/a','unix:/a','::1']",
	  "f:1:72: app 'a': Listen address 'unix:/a' is given twice" },
	{ APP ",'Listen':['unix:/a\\n','::1']",
	  "f:1:62: app 'a': a Listen address is 'unix:/a\\x0a', must be without control" },
	{ APP ",'Listen':['unix:/a']",
	  "f:1:10: app 'a': Ports is given, but Listen has no address" },
	{ "'Name':'a','Targets':['h:1'],'Listen':['unix:/a','::1']",
	  "f:1:10: app 'a': Ports is missing" },
	{ APP ",'ListenMode':'660'", "f:1:65: app 'a': ListenMode is '660', must be a mode" },
	{ APP ",'ListenMode':'0888'", "f:1:65: app 'a': ListenMode is '0888', must be a mode" },
	{ APP ",'ListenMode':660", "f:1:65: app 'a': ListenMode is a number, must be a mode" },
	/* targets */
	{ "'Name':'a','Ports':[1],'Targets':['unix:@']",
	  "f:1:45: app 'a': target 'unix:@': no path after" },
	{ "'Name':'a','Ports':[1],'Targets':['unix:/a\\t']",
	  "f:1:45: app 'a': target is 'unix:/a\\x09', must be without control characters" },
	{ "'Name':'a','Ports':[1],'Targets':['[fe80::1]:4']",
	  "f:1:45: app 'a': target '[fe80::1]:4': a link-local address...write '[fe80::1%eth0]:80'" },
	{ "'Name':'a','Ports':[1],'Targets':['unix:run/a']",
	  "f:1:45: app 'a': target 'unix:run/a': write 'unix:/path' or 'unix:@name'" },
	{ "'Name':'a','Ports':[1],'Targets':['unix:/a',{'Address':'unix:/a'}]",
	  "f:1:55: app 'a': target 'unix:/a' is given twice" },
	{ "'Name':'a','Ports':[1],'Targets':[]",
	  "f:1:44: app 'a': Targets is empty, must be ... at least one" },
	{ "'Name':'a','Ports':[1],'Targets':'h:1'",
	  "f:1:44: app 'a': Targets is a string, must be an array of targets" },
	{ "'Name':'a','Ports':[1],'Targets':['h']", "f:1:45: app 'a': target 'h': " },
	{ "'Name':'a','Ports':[1],'Targets':[5]",
	  "f:1:45: app 'a': target is a number, must be 'host:port'" },
	{ "'Name':'a','Ports':[1],'Targets':[{}]",
	  "f:1:45: app 'a': Address is missing, must be a string 'host:port'" },
	{ "'Name':'a','Ports':[1],'Targets':[{'Address':'h:1','Weight':0}]",
	  "f:1:71: app 'a': Weight is 0, must be a whole number from 1 to 256" },
	{ "'Name':'a','Ports':[1],'Targets':[{'Address':'h:0'}]",
	  "f:1:56: app 'a': Address 'h:0': " },
	{ "'Name':'a','Ports':[1],'Targets':[{'Adress':'h:1','Address':'h:1'}]",
	  "f:1:46: app 'a': 'Adress' is no key here, did you mean 'Address'?" },
	{ "'Name':'a','Ports':[1],'Targets':['h.x:1',\n'H.X.:1']",
	  "f:2:1: app 'a': target 'h.x:1' is given twice (first in line 1)" },
	{ "'Name':'a','Ports':[1],'Targets':['[::1]:2',{'Address':'[0::1]:2'}]",
	  "f:1:55: app 'a': target '[::1]:2' is given twice" },
	/* options */
	{ APP ",'Balance':'roundrobin'",
	  "f:1:62: app 'a': Balance is 'roundrobin', must be...did you mean 'round_robin'?" },
	{ APP ",'Engine':5", "f:1:61: app 'a': Engine is a number, must be one of:" },
	{ APP ",'ConnectTimeout':'0'",
	  "f:1:69: app 'a': ConnectTimeout is '0', must be ... from '1ms' to '576h'" },
	{ APP ",'ProxyProtocol':{'Accept':'on'}",
	  "f:1:10: app 'a': ProxyProtocol.TrustedFrom is missing...it must be an array of addresses" },
	{ APP ",'ProxyProtocol':{'Accept':'on','TrustedFrom':['10.0.0.1/8']}",
	  "f:1:98: app 'a': TrustedFrom range is '10.0.0.1/8', must be ... with zeros after its prefix" },
	{ APP ",'ProxyProtocol':{'TrustedFrom':['::1','::1/128']}",
	  "f:1:90: app 'a': TrustedFrom range '::1' is given twice" },
	{ APP ",'SourceAddresses':['192.0.2.0/24']",
	  "f:1:71: app 'a': source address is '192.0.2.0/24', must be one" },
	{ APP ",'SourceAddresses':['::']",
	  "f:1:71: app 'a': source address is '::', must be one address" },
	{ APP ",'SourceAddresses':['fe80::1']",
	  "f:1:71: app 'a': source address is 'fe80::1', must be ... with its interface" },
	{ APP ",'SourceAddresses':['::1'],'Transparent':true",
	  "f:1:10: app 'a': SourceAddresses and Transparent both say" },
	{ APP ",'ProxyProtocol':true", "f:1:68: app 'a': ProxyProtocol is a boolean, must be" },
	{ APP ",'ProxyProtocol':{'Accept':'v1'}",
	  "f:1:78: app 'a': Accept is 'v1', must be one of: off, on" },
	{ APP ",'KeepAlive':'10h'",
	  "f:1:64: app 'a': KeepAlive is '10h', must be ... at most '9h'" },
	{ APP ",'ConnectRetries':4294967295",
	  "f:1:69: app 'a': ConnectRetries is 4294967295, must be" },
	{ APP ",'MaxConnections':'1'",
	  "f:1:69: app 'a': MaxConnections is a string, must be a whole number" },
	{ APP ",'ConnectionRatePerSource':'0/s'",
	  "f:1:78: app 'a': ConnectionRatePerSource is '0/s', must be a string such as '100/s'" },
	{ APP ",'ConnectionRatePerSource':'1000001/s'",
	  "f:1:78: app 'a': ConnectionRatePerSource is '1000001/s', must be ... of at most 1000000" },
	{ APP ",'ConnectionRatePerSource':'5/d'",
	  "f:1:78: app 'a': ConnectionRatePerSource is '5/d', must be a string such as '100/s'" },
	{ APP ",'ConnectionRatePerSource':'99999999999/s'",
	  "f:1:78: app 'a': ConnectionRatePerSource is '99999999999/s', must be" },
	{ APP ",'ConnectionRatePerSource':10",
	  "f:1:78: app 'a': ConnectionRatePerSource is a number, must be a string such as" },
	{ APP ",'IdleTimeOut':'1s'",
	  "f:1:52: app 'a': 'IdleTimeOut' is no key here, did you mean 'IdleTimeout'?" },
};

static void a_wrong_app_is_refused_where_it_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(apps); i++) {
		char text[256];

		snprintf(text, sizeof(text), "{'Apps':[{%s}]}", apps[i].members);
		refused(text, apps[i].want);
	}
}

static void a_name_has_64_characters_at_most(void **state)
{
	char text[1024], name[64 * 2 + 1], *end = name;

	(void)state;
	for (int i = 0; i < 64; i++)
		end = stpcpy(end, "\xc3\xa4");
	snprintf(text, sizeof(text), "{'Apps':[{'Name':'%s','Ports':[1],'Targets':['h:1']}]}",
		 name);
	config_free(parsed(text));
	snprintf(text, sizeof(text), "{'Apps':[{'Name':'%sx','Ports':[1],'Targets':['h:1']}]}",
		 name);
	refused(text, "f:1:18: app '\xc3\xa4... must be 1 to 64 printable characters");
}

static void a_unix_socket_has_one_app(void **state)
{
	(void)state;
	refused("{'Apps':[{'Name':'a','Targets':['h:1'],'Listen':['unix:/a']},\n"
		"{'Name':'b','Targets':['h:1'],'Listen':['unix:/b','unix:/a']}]}",
		"f:2:1: app 'b': unix:/a is taken by app 'a' (line 1), must be another");
	refused("{'Defaults':{'Listen':['unix:/a']},'Apps':[{'Name':'a','Targets':['h:1']},\n"
		"{'Name':'b','Targets':['h:1']}]}",
		"f:2:1: app 'b': unix:/a is taken");
	config_free(parsed("{'Apps':[{'Name':'a','Targets':['h:1'],'Listen':['unix:/a']},"
			   "{'Name':'b','Targets':['unix:/a'],'Listen':['unix:@a']}]}"));
}

/* Two apps on port 1, the first with a Listen of its own. */
static void a_port_of_an_address_has_one_app(void **state)
{
	static const struct {
		const char *one, *other; /* Listen */
		const char *want;        /* NULL: taken */
	} row[] = {
		{ "'0.0.0.0','::'", "'0.0.0.0','::'",
		  "f:2:22: app 'b': 0.0.0.0:1 is taken by app 'a' (line 1)" },
		{ "'127.0.0.1'", "'127.0.0.1'", "f:2:22: app 'b': 127.0.0.1:1 is taken" },
		{ "'0.0.0.0'", "'127.0.0.1'", "f:2:22: app 'b': 127.0.0.1:1 is taken" },
		{ "'127.0.0.1'", "'0.0.0.0'", "f:2:22: app 'b': 0.0.0.0:1 is taken" },
		{ "'::'", "'::1'", "f:2:22: app 'b': [::1]:1 is taken" },
		{ "'::1'", "'::'", "f:2:22: app 'b': [::]:1 is taken" },
		{ "'127.0.0.1','127.0.0.2'", "'127.0.0.3','127.0.0.2'",
		  "f:2:22: app 'b': 127.0.0.2:1 is taken" },
		{ "'127.0.0.1'", "'127.0.0.2'", NULL },
		{ "'0.0.0.0'", "'::'", NULL },
		{ "'127.0.0.1'", "'::','127.0.0.2'", NULL },
		{ "'0.0.0.0','127.0.0.1'", "'::1'", NULL },
		{ "'fe80::1%1'", "'fe80::1%2'", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char text[512];

		snprintf(text, sizeof(text),
			 "{'Apps':[{" APP ",'Listen':[%s]},\n"
			 "{'Name':'b','Ports':['1-9'],'Targets':['h:1'],'Listen':[%s]"
			 "}]}",
			 row[i].one, row[i].other);
		if (row[i].want)
			refused(text, row[i].want);
		else
			config_free(parsed(text));
	}
}

static void all_errors_are_told_in_the_order_of_the_text(void **state)
{
	static const char text[] = "{'Workers': -1,\n"
				   " 'Apps': [\n"
				   "  {'Name': 'a', 'Ports': [1], 'Targets': ['h:1']},\n"
				   "  {'Name': 'a', 'Ports': [1, 2, 2], 'Balance': 1},\n"
				   "  {'Ports': [0], 'Targets': ['h']}],\n"
				   " 'Log': {'Levle': 'info'},\n"
				   " 'Defaults': {'IdleTimeout': 1}}";
	static const char *const want[] = {
		"f:1:13: Workers is -1",
		"f:4:3: app 'a': Targets is missing",
		"f:4:12: app name 'a' is given twice (first in line 3)",
		"f:4:27: app 'a': 0.0.0.0:1 is taken by app 'a' (line 3)",
		"f:4:33: app 'a': port 2 is given twice (first in line 4)",
		"f:4:48: app 'a': Balance is a number",
		"f:5:3: app 3: Name is missing",
		"f:5:14: app 3: a port is 0",
		"f:5:30: app 3: target 'h'",
		"f:6:10: Log: 'Levle' is no key here",
		"f:7:30: Defaults: IdleTimeout is a number",
	};
	struct config_errors errors;
	char got[2048];

	(void)state;
	assert_null(parse(text, &errors));
	for (size_t i = 0; i < errors.n && i < ARRAY_SIZE(want); i++) {
		error_text(&errors.list[i], got, sizeof(got));
		if (strncmp(got, want[i], strlen(want[i])))
			fail_msg("error %zu is:  %s\nwanted: %s", i, got, want[i]);
	}
	assert_int_equal(errors.n, ARRAY_SIZE(want));
	assert_int_equal(errors.total, ARRAY_SIZE(want));
	config_errors_free(&errors);
}

static void the_first_hundred_errors_are_kept_and_all_are_counted(void **state)
{
	enum { APPS = 100000 };
	char *text = xcalloc(APPS + 10, sizeof("\n0,")),
	     *end = stpcpy(text, "{'Log': 1,\n'Apps': [0");
	struct config_errors errors;

	(void)state;
	for (size_t i = 1; i < APPS; i++)
		end = stpcpy(end, ",\n0");
	stpcpy(end, "]}");
	assert_null(parse(text, &errors));
	assert_int_equal(errors.total, APPS + 1);
	assert_int_equal(errors.n, CONFIG_ERRORS_MAX);
	for (size_t i = 0; i < errors.n; i++)
		assert_int_equal(errors.list[i].line, i + 1);
	config_errors_free(&errors);
	free(text);
}

static void listeners_are_bounded(void **state)
{
	(void)state;
	refused("{'Apps':[{" APP "},{'Name':'b','Ports':['2-65535'],'Targets':['h:1'],'Listen':["
		"'::1','::2','::3','::4','::5','::6','::7','::8','::9','::a','::b','::c','::d',"
		"'::e','::f','::10','::11','::12']}]}",
		"f:1:53: app 'b': more than 1048576 listeners");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_document_is_refused_where_it_is_wrong),
		cmocka_unit_test(a_wrong_app_is_refused_where_it_is_wrong),
		cmocka_unit_test(a_name_has_64_characters_at_most),
		cmocka_unit_test(a_unix_socket_has_one_app),
		cmocka_unit_test(a_port_of_an_address_has_one_app),
		cmocka_unit_test(all_errors_are_told_in_the_order_of_the_text),
		cmocka_unit_test(the_first_hundred_errors_are_kept_and_all_are_counted),
		cmocka_unit_test(listeners_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
