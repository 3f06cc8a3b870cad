/* SPDX-License-Identifier: MIT */
/*
 * The configuration: from the text of a JSON file to plain, complete, validated structs, or to a
 * list of everything that is wrong with it. It opens no sockets, resolves no names and keeps
 * nothing of the text. Defaults are filled in here and nowhere else. A key is one row of one table
 * (config.c); the same key stands in docs/config.schema.json and in shunt-config(5), and
 * test_config_schema.c holds the three together.
 */
#ifndef SHUNT_CONFIG_H
#define SHUNT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "addr_range.h"
#include "log.h"
#include "proxy_header.h"

#define CONFIG_FILE_MAX_BYTES (16u << 20)
#define CONFIG_DEPTH_MAX 32
#define CONFIG_ERRORS_MAX 100 /* kept and printed; the rest is counted */
#define CONFIG_WEIGHT_MAX 256
#define CONFIG_WORKERS_MAX 256
#define CONFIG_SOCKMAP_FLOWS_MAX (1u << 20)
#define CONFIG_SOCKMAP_BACKLOG_MAX_KIB (64u << 10)
#define CONFIG_WIRE_FLOWS_MAX (1u << 20)
#define LISTEN_MODE_DEFAULT 0660
#define CONFIG_RANGES_MAX 64 /* of hosts, in one list */
#define CONFIG_BYPASS_FLOWS_MAX (1u << 20)
#define CONFIG_BYPASS_UNREAD_MAX_KIB (64u << 10)

#define ADMIN_SOCKET_DEFAULT "/run/shunt/admin.sock"
#define ADMIN_SOCKET_MAX_BYTES 107 /* sun_path of unix(7), less its NUL */

#define LOG_FILE_DEFAULT "/var/log/shunt/shunt.log"
#define LOG_FILE_MAX_BYTES 255

#define CONNECT_TIMEOUT_DEFAULT_MS 2000
#define IDLE_TIMEOUT_DEFAULT_MS 3600000
#define HALF_CLOSE_TIMEOUT_DEFAULT_MS 30000
#define KEEPALIVE_DEFAULT_MS 60000
#define HEALTH_INTERVAL_MIN_MS 10
#define HEALTH_STREAK_MAX 100
#define HEALTH_BYTES_MAX 255
#define QUEUE_TIMEOUT_DEFAULT_MS 5000
#define BACKLOG_DEFAULT 4096
#define BACKLOG_MAX 65535
#define RATE_MAX 1000000              /* connections in a unit of time, and in a burst */
#define PROXY_TIMEOUT_DEFAULT_MS 3000 /* a lost segment may come again: proxy-protocol.txt, 2 */
#define SOCKMAP_FLOWS_DEFAULT 16384
#define SOCKMAP_BACKLOG_DEFAULT_KIB 1024
#define WIRE_FLOWS_DEFAULT 32768
#define WIRE_PINS_DEFAULT "/sys/fs/bpf/shunt/wire"
#define WIRE_PINS_MAX_BYTES 200
#define BYPASS_CGROUP_MAX_BYTES 1000
#define BYPASS_FLOWS_DEFAULT 16384
#define BYPASS_UNREAD_DEFAULT_KIB 1024
#define CONNECT_RETRIES_ALL UINT32_MAX /* every target is tried before the client is refused */

/*
 * The names that a config may use for what lives on floors above this one, or beside it. Balance
 * and Engine become pointers to these very strings.
 */
struct config_vocabulary {
	const char *const *balancers; /* the first is the default */
	size_t n_balancers;
	const char *const *engines; /* the first is the default ("auto") */
	size_t n_engines;
};

struct target_conf {
	char *text; /* as given: "host:port", "unix:/path": its name in every table and log */
	struct host_port at;      /* of a unix socket: nothing */
	bool is_literal;          /* at.host is an address, or it is a unix socket: */
	struct addr addr;         /* that address with the port; a path is the text's */
	uint32_t weight;          /* 1 to CONFIG_WEIGHT_MAX */
	uint32_t max_connections; /* 0: no limit */
};

struct health_bytes {
	size_t n;
	uint8_t data[HEALTH_BYTES_MAX];
};

/* How targets are checked. */
struct health_conf {
	bool on;
	uint32_t interval_ms, timeout_ms;
	uint32_t rise, fall;              /* results in a row */
	uint32_t port;                    /* 0: the target's */
	struct health_bytes send, expect; /* empty: nothing */
};

#define HEALTH_CONF_DEFAULT                                                                        \
	((struct health_conf){ .interval_ms = 2000, .timeout_ms = 1000, .rise = 2, .fall = 3 })

/* What becomes of the connections of a target that has gone down. */
enum on_down { ON_DOWN_KEEP, ON_DOWN_CLOSE };

/* So many in so long. */
struct rate {
	uint32_t n; /* 0: no limit */
	uint32_t per_ms;
};

struct addr_range_list {
	struct addr_range *at;
	size_t n;
};

enum proxy_accept {
	PROXY_ACCEPT_OFF,
	PROXY_ACCEPT_ON, /* each connection begins with a header, of either version */
};

struct proxy_protocol_conf {
	enum proxy_accept accept;
	enum proxy_header_version send;
	struct addr_range_list trusted; /* whose headers are taken; not empty if any are */
	uint32_t timeout_ms;            /* for the header */
};

/* An app listens on each of its Listen addresses with each of its ports, and on unix sockets. */
struct app_conf {
	char *name;
	uint16_t *ports; /* ranges expanded, in the order given */
	size_t n_ports;
	struct addr *listen; /* port 0 */
	size_t n_listen;
	char **sockets; /* paths of unix sockets, and abstract names ("@name") */
	size_t n_sockets;
	uint32_t listen_mode;   /* of those that have a place in the file system */
	bool listen_is_default; /* no Listen given: a host without IPv6 is then no error */
	struct target_conf *targets;
	size_t n_targets;
	const char *balance;
	const char *engine; /* NULL: the config's Engine */
	bool wire;          /* auto may put its flows on the wire */
	bool local_bypass;  /* its flows' ends may send to each other, if they are on this host */
	uint32_t connect_timeout_ms;
	uint32_t connect_retries;       /* further targets to try after the first one failed */
	uint32_t idle_timeout_ms;       /* 0: none */
	uint32_t half_close_timeout_ms; /* 0: none */
	uint32_t keepalive_ms;          /* silence before the first TCP keepalive probe; 0: none */
	uint32_t max_connections;       /* 0: no limit */
	struct health_conf health;
	uint32_t slow_start_ms; /* 0: none */
	enum on_down on_down;
	uint32_t max_queue; /* connections that may wait for a limit */
	uint32_t queue_timeout_ms;
	uint32_t max_per_source;     /* 0: no limit */
	struct rate rate_per_source; /* of new connections */
	uint32_t burst_per_source;   /* 0: what the rate says, at once */
	uint32_t backlog; /* of each listening socket; the kernel cuts it to net.core.somaxconn */
	struct proxy_protocol_conf proxy_protocol;
	struct addr_range_list
		sources;  /* each one address: where connections to targets come from */
	bool transparent; /* they come from the client's address; no sources, then */
};

/* What becomes of flows on the wire when the daemon is told to stop. */
enum wire_at_stop {
	WIRE_AT_STOP_DRAIN, /* they run to their end, as all others */
	WIRE_AT_STOP_LEAVE, /* they go on without a daemon, and the next one adopts them */
};

struct wire_conf_keys {
	uint32_t flows;
	char **devices; /* that get the program; none given: they are found */
	size_t n_devices;
	enum wire_at_stop at_stop;
	char *pins; /* a folder in a bpffs; "": none */
};

struct bypass_conf_keys {
	char *cgroup; /* whose programs' connections may be bypassed; "": all */
	uint32_t flows;
	uint32_t unread_kib; /* of one direction, in no socket's account */
};

struct config_error {
	unsigned int line, column; /* from 1; 0: about the file as a whole */
	char *text;                /* `app "x": what is wrong, what would be right` */
};

struct config_errors {
	struct config_error list[CONFIG_ERRORS_MAX];
	size_t n;     /* in list, in the order of the text */
	size_t total; /* found */
};

struct config {
	const char *engine;
	uint32_t workers;             /* 0: one a core */
	uint32_t drain_timeout_ms;    /* 0: no limit */
	uint32_t max_connections;     /* of all apps together; 0: no limit */
	uint32_t sockmap_flows;       /* that it has room for, in all workers together */
	uint32_t sockmap_backlog_kib; /* of one direction, in no socket's account */
	struct wire_conf_keys wire;
	struct bypass_conf_keys bypass;
	struct log_conf log; /* owns its file */
	bool access_log;
	char *admin_socket;           /* an absolute path; "": none */
	bool admin_socket_is_default; /* no Admin.Socket given: that it can't be made is no error */
	struct addr admin_http;       /* where metrics are told; AF_UNSPEC: nowhere */
	struct app_conf *apps;
	size_t n_apps;
	struct config_errors notes; /* no errors: what is given and does nothing, and why */
};

/* Do its connections begin with a PROXY header, the client's or the backend's? */
bool app_conf_has_header(const struct app_conf *app);
/* Where an app listens, in all; and the one of number k, whose path is the conf's. */
size_t app_conf_listeners(const struct app_conf *app);
struct addr app_conf_listener(const struct app_conf *app, size_t k);
/* The last of the ports that follow number i without a gap: ports are told as ranges. */
size_t app_conf_last_in_row(const struct app_conf *app, size_t i);

/*
 * Both return a config that the caller gives to config_free(), or NULL with at least one error in
 * *errors; the caller gives *errors to config_errors_free() in either case. config_load() reads "-"
 * from standard input.
 */
struct config *config_parse(const char *text, size_t len, const struct config_vocabulary *v,
			    struct config_errors *errors) must_check;
struct config *config_load(const char *path, const struct config_vocabulary *v,
			   struct config_errors *errors) must_check;
void config_free(struct config *c);       /* takes NULL */
void app_conf_free(struct app_conf *app); /* what it owns; takes a zeroed one, too */

/* One error as "FILE:LINE:COL: text" (or "FILE: text"), without a newline; as snprintf. */
int config_error_format(const struct config_error *e, const char *file, char *buf, size_t size);
/* Its notes, each a warning in the log. */
void config_warn(const struct config *c, const char *file);
void config_errors_free(struct config_errors *errors);

/*
 * The keys of the table, for the test that holds it against the schema: calls visit() for each,
 * with the object that it belongs to ("", "Log", "Admin", "Defaults", "Apps[]", "Apps[].Targets[]",
 * "Apps[].HealthCheck").
 */
void config_each_key(void (*visit)(const char *object, const char *key, void *arg), void *arg);

#endif
