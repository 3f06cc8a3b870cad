/* SPDX-License-Identifier: MIT */
/*
 * A configuration that is written and read again is the same one, and no key is forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <string.h>

#include "balancer.h"
#include "config_write.h"
#include "engine.h"

/* No key has its default, each that may be missing is there. */
static const char everything[] =
	"{\"Engine\":\"copy\",\"Workers\":3,\"DrainTimeout\":\"90s\",\"MaxConnections\":11,"
	"\"Log\":{\"Level\":\"debug\",\"Format\":\"json\",\"Output\":\"syslog\",\"File\":\"/l\","
	"\"Access\":false},\"Sockmap\":{\"Flows\":7,\"BacklogKiB\":64},"
	"\"Wire\":{\"Flows\":9,\"Devices\":[\"a\",\"b\"],\"AtStop\":\"leave\",\"Pins\":\"/p\"},"
	"\"Bypass\":{\"Cgroup\":\"/c\",\"Flows\":8,\"UnreadKiB\":9},"
	"\"Admin\":{\"Socket\":\"/s\",\"Http\":\"[::1]:80\"},"
	"\"Apps\":[{\"Name\":\"a \\\"b\\\"\",\"Ports\":[1,\"7-9\",4,5],"
	"\"Targets\":[{\"Address\":\"h:1\",\"Weight\":2,\"MaxConnections\":3},{\"Address\":\"[::1]:90\",\"Weight\":1,\"MaxConnections\":0}],"
	"\"Listen\":[\"127.0.0.1\",\"[::]\",\"unix:/a\",\"unix:@b\"],"
	"\"ListenMode\":\"0600\",\"Balance\":\"random\",\"Engine\":\"splice\","
	"\"Wire\":false,\"LocalBypass\":true,\"ConnectTimeout\":\"250ms\",\"ConnectRetries\":0,\"IdleTimeout\":\"0\","
	"\"HalfCloseTimeout\":\"90m\",\"KeepAlive\":\"7s\",\"MaxConnections\":4294967295,"
	"\"HealthCheck\":{\"Interval\":\"1s\",\"Timeout\":\"50ms\",\"Rise\":1,\"Fall\":100,"
	"\"Port\":81,\"Send\":\"\\\\x00A\\\\\\\\\\\\x0d\",\"Expect\":\"+\\\"\"},"
	"\"SlowStart\":\"30s\",\"OnDown\":\"close\",\"MaxQueue\":8,\"QueueTimeout\":\"3s\","
	"\"MaxConnectionsPerSource\":21,\"ConnectionRatePerSource\":\"30/m\","
	"\"ConnectionBurstPerSource\":22,\"Backlog\":77,"
	"\"ProxyProtocol\":{\"Accept\":\"on\",\"Send\":\"v2\","
	"\"TrustedFrom\":[\"10.0.0.0/8\",\"::1\"],\"Timeout\":\"500ms\"},"
	"\"SourceAddresses\":[\"192.0.2.1\",\"::1\"],\"Transparent\":false}]}";

static struct config *parse(const char *text)
{
	struct config_vocabulary v = { balancer_names, n_balancers, engine_names, n_engines };
	struct config_errors errors;
	struct config *c = config_parse(text, strlen(text), &v, &errors);

	if (!c)
		fail_msg("%s\nwas refused: %s", text, errors.list[0].text);
	config_errors_free(&errors);
	return c;
}

static const struct app_conf *app_of(const void *config, size_t i)
{
	return &((const struct config *)config)->apps[i];
}

static cJSON *written_json(const char *text)
{
	struct config *c = parse(text);
	cJSON *json = cJSON_CreateObject();

	config_write(c, &(struct config_apps){ c->n_apps, app_of, c }, json);
	config_free(c);
	return json;
}

static char *written(const char *text)
{
	cJSON *json = written_json(text);
	char *out = cJSON_PrintUnformatted(json);

	cJSON_Delete(json);
	return out;
}

static void what_says_everything_is_written_as_it_was(void **state)
{
	char *text = written(everything);

	(void)state;
	assert_string_equal(text, everything);
	free(text);
}

static void defaults_are_filled_in_and_written_once(void **state)
{
	char *first = written(
		     "{\"Defaults\":{\"IdleTimeout\":\"5m\"},\"Apps\":[{\"Name\":\"a\",\"Ports\":[1,2],"
		     "\"Targets\":[\"h:1\"]}]}"),
	     *second = written(first);

	(void)state;
	assert_string_equal(second, first);
	assert_non_null(strstr(
		first,
		"\"Ports\":[1,2],\"Targets\":[{\"Address\":\"h:1\",\"Weight\":1,\"MaxConnections\":0}],"
		"\"Listen\":[\"0.0.0.0\",\"[::]\"],\"ListenMode\":\"0660\",\"Balance\":\"p2c\",\"Engine\":\"auto\","
		"\"Wire\":true,\"LocalBypass\":false,\"ConnectTimeout\":\"2s\",\"IdleTimeout\":\"5m\""));
	assert_non_null(strstr(first, "\"Http\":\"\""));
	assert_null(strstr(first, "Defaults"));
	free(first);
	free(second);
}

/* The objects by their names as config_each_key() gives them. */
static const cJSON *object_of(const cJSON *json, const char *name)
{
	const cJSON *apps = cJSON_GetObjectItem(json, "Apps"), *app = cJSON_GetArrayItem(apps, 0);

	if (!strcmp(name, "Apps[]"))
		return app;
	if (!strcmp(name, "Apps[].HealthCheck"))
		return cJSON_GetObjectItem(app, "HealthCheck");
	if (!strcmp(name, "Apps[].Targets[]"))
		return cJSON_GetArrayItem(cJSON_GetObjectItem(app, "Targets"), 0);
	if (!strcmp(name, "Apps[].ProxyProtocol"))
		return cJSON_GetObjectItem(app, "ProxyProtocol");
	return *name ? cJSON_GetObjectItem(json, name) : json;
}

static void look_up(const char *object, const char *key, void *json)
{
	if (!strcmp(object, "Defaults") || !strcmp(key, "Defaults"))
		return;
	if (!cJSON_GetObjectItemCaseSensitive(object_of(json, object), key))
		fail_msg("%s.%s is not written", object, key);
}

static void no_key_is_forgotten(void **state)
{
	cJSON *json = written_json(everything);

	(void)state;
	config_each_key(look_up, json);
	cJSON_Delete(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_says_everything_is_written_as_it_was),
		cmocka_unit_test(defaults_are_filled_in_and_written_once),
		cmocka_unit_test(no_key_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
