/* SPDX-License-Identifier: MIT */
/* What is right and has no effect is told of, each with its place, and nothing else is. */
#include "config_text.h"

/* Taken, and with this one note; NULL: with none. */
static void noted(const char *text, const char *want)
{
	struct config *c = parsed(text);
	const struct config_errors *notes = &c->notes;
	char got[2048] = "";

	if (notes->n)
		error_text(&notes->list[0], got, sizeof(got));
	if (notes->n != (want != NULL) || notes->total != notes->n)
		fail_msg("%s\nhas %zu notes, the first is: %s", text, notes->total, got);
	if (want && !matches(got, want))
		fail_msg("%s\ngave:   %s\nwanted: %s", text, got, want);
	config_free(c);
}

static void what_another_key_lacks_for_is_told(void **state)
{
	static const struct {
		const char *keys, *want;
	} rows[] = {
		{ "'MaxQueue':9",
		  "f:1:52: app 'a': MaxQueue has no effect: neither the app nor..." },
		{ "'QueueTimeout':'1s'", "f:1:52: app 'a': QueueTimeout...MaxQueue is 0" },
		{ "'ConnectionBurstPerSource':9", "f:1:52: app 'a': ConnectionBurstPerSource..." },
		{ "'ListenMode':'0600'", "f:1:52: app 'a': ListenMode has no effect: Listen..." },
		{ "'Wire':false,'Engine':'wire'", "f:1:52: app 'a': Wire...Engine is 'wire'" },
		{ "'LocalBypass':true,'ProxyProtocol':{'Send':'v2'}",
		  "f:1:52: app 'a': LocalBypass...PROXY header is bypassed" },
		{ "'Balance':'source_hash','SlowStart':'1m'", "f:1:76: app 'a': SlowStart..." },
		{ "'ProxyProtocol':{'Timeout':'1s'}",
		  "f:1:69: app 'a': ProxyProtocol.Timeout has no effect: no header is read..." },
		{ "'ProxyProtocol':{'TrustedFrom':['::/0']}",
		  "f:1:69: app 'a': ProxyProtocol.TrustedFrom..." },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "{'Apps':[{" APP ",%s}]}", rows[i].keys);
		noted(text, rows[i].want);
	}
}

static void what_has_what_it_needs_is_not(void **state)
{
	static const char *const rows[] = {
		"'MaxQueue':9,'QueueTimeout':'1s','MaxConnections':1",
		"'ConnectionBurstPerSource':9,'ConnectionRatePerSource':'1/s'",
		"'Listen':['unix:/s','0.0.0.0'],'ListenMode':'0600'",
		"'Wire':false,'Engine':'copy'",
		"'LocalBypass':true,'Engine':'copy'",
		"'Balance':'round_robin','SlowStart':'1m'",
		"'ProxyProtocol':{'Accept':'on','Timeout':'1s','TrustedFrom':['::/0']}",
		/* Defaults, as `shunt config` tells them. */
		"'MaxQueue':0,'QueueTimeout':'5s','ConnectionBurstPerSource':0,'ListenMode':'0660'",
		"'Wire':true,'Engine':'wire','SlowStart':'0','Balance':'source_hash'",
		"'ProxyProtocol':{'Accept':'off','Timeout':'3s'}",
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "{'Apps':[{" APP ",%s}]}", rows[i]);
		noted(text, NULL);
	}
	/* A target's limit is one, too. */
	noted("{'Apps':[{'Name':'a','Ports':[1],'MaxQueue':9,"
	      "'Targets':['h:1',{'Address':'h:2','MaxConnections':1}]}]}",
	      NULL);
}

/* Defaults are for other apps, too; but what they set counts for a key of the app. */
static void defaults_are_not_told_of_and_count(void **state)
{
	(void)state;
	noted("{'Defaults':{'QueueTimeout':'1s','SlowStart':'1m','Balance':'source_hash'},"
	      "'Apps':[{" APP "}]}",
	      NULL);
	noted("{'Defaults':{'MaxQueue':9,'MaxConnections':1},"
	      "'Apps':[{" APP ",'QueueTimeout':'1s'}]}",
	      NULL);
	noted("{'Engine':'wire','Apps':[{" APP ",'Wire':false}]}", "f:1:68: app 'a': Wire...");
}

static void keys_of_the_daemon_without_effect_are_told_of(void **state)
{
	(void)state;
	noted("{'Wire':{'Pins':'','AtStop':'leave'},'Apps':[{" APP "}]}",
	      "f:1:20: Wire: AtStop has no effect: ...Pins is ''");
	noted("{'Wire':{'Pins':'','AtStop':'drain'},'Apps':[{" APP "}]}", NULL);
	noted("{'Wire':{'AtStop':'leave'},'Apps':[{" APP "}]}", NULL);
	noted("{'Bypass':{'Flows':9},'Apps':[{" APP "}]}",
	      "f:1:2: Bypass has no effect: no app has LocalBypass");
	noted("{'Bypass':{'Flows':9},'Defaults':{'LocalBypass':true},'Apps':[{" APP "}]}", NULL);
	/* As `shunt config` tells them. */
	noted("{'Bypass':{'Cgroup':'','Flows':16384,'UnreadKiB':1024},'Apps':[{" APP "}]}", NULL);
}

static void a_literal_target_without_a_source_address_is_told_of(void **state)
{
	static const struct {
		const char *targets, *sources, *want;
	} rows[] = {
		{ "'192.0.2.9:1'", "'::1'",
		  "f:1:45: app 'a': target '192.0.2.9:1' is never reached: ... family, IPv4" },
		{ "'h:1',{'Address':'[::9]:1'}", "'192.0.2.1','192.0.2.2'",
		  "f:1:51: app 'a': target '[::9]:1' is never reached: ... family, IPv6" },
		{ "'h:1','unix:/a','192.0.2.9:1'", "'192.0.2.1'", NULL },
		{ "'[::9]:1','192.0.2.9:1'", "'192.0.2.1','::1'", NULL },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(
			text, sizeof(text),
			"{'Apps':[{'Name':'a','Ports':[1],'Targets':[%s],'SourceAddresses':[%s]}]}",
			rows[i].targets, rows[i].sources);
		noted(text, rows[i].want);
	}
	noted("{'Defaults':{'SourceAddresses':['::1']},\n"
	      "'Apps':[{'Name':'a','Ports':[1],'Targets':['192.0.2.9:1']}]}",
	      "f:2:44: app 'a': target '192.0.2.9:1' is never reached");
}

/* Of a file with more of them than are kept, the first ones are. */
static void they_are_bounded_and_in_order(void **state)
{
	enum { N = 2 * CONFIG_ERRORS_MAX };
	char *text = xcalloc(N, 128), *end = text;
	struct config *c;

	(void)state;
	end += sprintf(end, "{'Apps':[");
	for (int i = 0; i < N; i++)
		end += sprintf(end,
			       "%s\n{'Name':'a%d','Ports':[%d],'Targets':['h:1'],'MaxQueue':1}",
			       i ? "," : "", i, i + 1);
	strcpy(end, "]}");
	c = parsed(text);
	assert_int_equal(c->notes.total, N);
	assert_int_equal(c->notes.n, CONFIG_ERRORS_MAX);
	for (unsigned int i = 0; i < CONFIG_ERRORS_MAX; i++)
		assert_int_equal(c->notes.list[i].line, i + 2);
	config_free(c);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_another_key_lacks_for_is_told),
		cmocka_unit_test(what_has_what_it_needs_is_not),
		cmocka_unit_test(defaults_are_not_told_of_and_count),
		cmocka_unit_test(keys_of_the_daemon_without_effect_are_told_of),
		cmocka_unit_test(a_literal_target_without_a_source_address_is_told_of),
		cmocka_unit_test(they_are_bounded_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
