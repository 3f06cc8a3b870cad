// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
	"shunt/tester/internal/trial"
)

// bound is how long a trial may take before it counts as hung; the usual one takes a second.
const bound = 60 * time.Second

// scope is what a promise depends on, and so how often it is put to the test.
type scope int

const (
	everywhere scope = iota // for each engine and each family
	eachFamily              // how it connects: for each family, with the last engine
	eachEngine              // what its connections go through: for each engine, with the first family
	once                    // neither: with the last engine and the first family
)

type scenario struct {
	name    string
	scope   scope
	promise string
	run     func(*env)
	engines string // the only ones that promise this, parted by blanks; "": all do
}

var table = []scenario{
	// Where a connection goes.
	{"every_port_reaches_only_its_own_app", eachFamily,
		"with config.json as it is, each port reaches its own app's targets, all of them, and no other's", everyPort, ""},
	{"balance_is_fair", eachFamily,
		"round_robin and least_conn are exact, weights too; p2c, random within bounds; a source keeps its target", balance, ""},
	{"dead_target_costs_no_connection", eachFamily,
		"a target that refuses is passed over, found down, and no client notices", deadTarget, ""},
	{"black_holed_target_costs_no_connection", eachFamily,
		"a target that never answers is passed over after ConnectTimeout", blackHole, ""},
	{"first_bytes_survive_failover", everywhere,
		"what a client sends at once arrives once and exact, whether its first target refuses or never answers", firstBytes, ""},
	{"unresolvable_name_costs_no_connection", eachFamily,
		"a name without an address is a target that is down, nothing worse", unresolvable, ""},
	{"returning_target_is_taken_again", eachFamily,
		"a target that dies is left, one that returns is taken again, and no client notices", returning, ""},
	{"dns_answers_are_followed", eachFamily,
		"new connections follow the name's new addresses after its TTL, and use all of them", dnsFollowed, ""},
	{"dns_failure_keeps_the_last_answer", eachFamily,
		"SERVFAIL, NXDOMAIN, NODATA, silence, of one family or both: the addresses stay, it is counted and told, recovery is followed",
		dnsFailures, ""},
	{"all_targets_down_is_a_reset", eachFamily,
		"with no target left the client gets a RST, and service the moment that one is back", allDown, ""},
	{"client_that_leaves_while_connecting", eachFamily,
		"a client's RST ends the attempt to connect long before its timeout", clientLeaves, ""},

	// Health.
	{"wrong_answer_takes_a_target_out", eachFamily,
		"a target that accepts but answers checks wrong is passed over, and taken again when it answers right", wrongAnswer, ""},
	{"black_hole_is_found_before_a_client_meets_it", eachFamily,
		"checks find a target down that never answers, and no connection is tried there", foundBeforehand, ""},
	{"rise_and_fall_are_counted_in_a_row", once,
		"Fall failures in a row take a target down, Rise successes bring it up, fewer do nothing", riseAndFall, ""},
	{"slow_start_lets_a_target_in_by_degrees", once,
		"a target that has come back gets less than its share at first, and all of it in the end", slowStart, ""},
	{"on_down_closes_or_keeps", everywhere,
		"connections of a target that checks find down are reset if OnDown says so, and else go on", onDown, ""},
	{"targets_are_taken_out_by_hand", everywhere,
		"drain: no new connections; disable: the old ones are reset, too; enable: back; a reload changes nothing", handOrders, ""},
	{"orders_reach_adopted_flows", eachFamily,
		"disable resets also what a daemon before has left on the wire, drain lets it go on", ordersReachAdopted, "wire"},
	{"checks_follow_reloads_and_names", eachFamily,
		"checks begin and end with the configuration and with a name's addresses", checksFollow, ""},
	{"many_checks_disturb_nobody", once,
		"2,000 targets are checked while a connection carries bytes, exact", manyChecks, ""},

	// What happens to the bytes.
	{"bytes_are_exact_both_ways", everywhere,
		"64 MB in 4 connections, both directions at once, chunks of 1 B to 1 MiB and pauses, arrive exact", exact, ""},
	{"bytes_survive_half_close", everywhere,
		"when one end has no more to say, all that the other says still arrives", halfClose, ""},
	{"server_speaks_first", everywhere,
		"a backend's greeting reaches a client that has said nothing", serverFirst, ""},
	{"reset_arrives_as_reset", everywhere,
		"a RST from either end is a RST at the other: before a byte, idle, with data under way, after a half-close", resets, ""},
	{"slow_reader_is_bounded", everywhere,
		"a reader that stops holds back its own sender, within 16 MiB, and nobody else; memory stays", slowReader, ""},
	{"idle_flow_holds_no_pipe", everywhere,
		"a connection that has gone quiet after bulk keeps no pipe", idlePipes, ""},

	{"every_way_to_send_and_receive", everywhere,
		"whatever calls both ends use, blocking or not, each sender with each receiver: all bytes arrive", everyWay, ""},
	{"every_way_to_receive_sees_a_reset", everywhere,
		"a RST, or a close with bytes unread, is told to who waits in recv, poll, select, epoll or splice", everyWayIsReset, ""},
	{"urgent_data_keeps_its_place", everywhere,
		"a byte sent by MSG_OOB, from either end, arrives in its place among the others", urgentData, ""},

	{"kernel_relays_while_the_daemon_is_stopped", everywhere,
		"a joined flow moves bytes both ways, exact, while the daemon is not running at all", stoppedDaemon, "sockmap wire bypass"},
	{"killed_daemon_leaves_nothing_in_the_way", eachFamily,
		"after kill -9 in the middle of things a new daemon starts at once and serves", killedDaemon, ""},

	// What knows nothing of a proxy. A program that is not installed is a skip.
	{"redis_works_unmodified", once,
		"redis-cli is told the same as without shunt, up to the digest of all data; redis-benchmark, pipelined, too",
		redis, ""},
	{"postgresql_works_unmodified", once,
		"pgbench's transactions succeed and balance; psql is told the same as without shunt", postgres, ""},
	{"nginx_works_unmodified", once,
		"pages of 1 kB to 10 MiB are exact, and wrk sees no error", webServer, ""},
	{"iperf3_works_unmodified", once,
		"4 streams there, back and both ways; what it counts and what the log counts agree", iperf3, ""},
	{"go_programs_work_unmodified", once,
		"net/http, also with TLS and HTTP/2, and io.Copy, which splices, get back what they send", goPrograms, ""},
	{"node_works_unmodified", once,
		"streams that read while they write get back what they send", node, ""},

	// Many, and limits.
	{"five_thousand_at_once", everywhere,
		"5,000 connections are open together and each one works", fiveThousand, ""},
	{"churn", everywhere,
		"2,000 connections come and go, in every way to end one, and leave no fd behind", churn, ""},
	{"too_many_connections_are_refused", once,
		"over MaxConnections a client gets a RST, until there is room again", tooMany, ""},
	{"queue_serves_first_come_first_served", eachEngine,
		"who comes over MaxConnections waits, and what he said meanwhile arrives exact, in the order of coming", queueInOrder, ""},
	{"queue_is_left_by_timeout_and_by_reset", eachEngine,
		"after QueueTimeout a waiting client gets a RST, over MaxQueue at once; one that resets makes room", queueLeft, ""},
	{"one_place_is_passed_on_across_threads", eachFamily,
		"with one place and hundreds of clients on two threads, each is served", queueAcrossWorkers, ""},
	{"target_limit_is_kept", eachFamily,
		"a target at its MaxConnections is passed over, when all are clients wait, and for the one that has room", targetLimit, ""},
	{"daemon_limit_pauses_accepting", eachFamily,
		"at the daemon's MaxConnections clients wait in the kernel, at no cost, and all are served in the end", daemonLimit, ""},
	{"one_source_has_its_share", eachFamily,
		"over MaxConnectionsPerSource a source gets RSTs, and others are served; refusals are counted, and told of together", sourceShare, ""},
	{"one_source_has_its_rate", eachFamily,
		"a source may connect in a burst and then at its rate, however often it tries", sourceRate, ""},
	{"backlog_is_as_configured", eachFamily,
		"the kernel's queues have the length that Backlog says, from the start and after a reload", backlogs, ""},
	{"reload_serves_who_waits", eachFamily,
		"a reload that raises a limit or adds a target serves those that wait", reloadOfLimits, ""},
	{"reload_gives_headers_to_who_waits", everywhere,
		"who waits while a reload turns PROXY headers on has one at the new target, and his bytes after it", reloadOfTheBeginning, ""},
	{"who_waits_keeps_his_listener", eachEngine,
		"who came by a unix socket waits on through a reload that keeps it, and one that removes it", reloadOfAListener, ""},
	{"idle_flow_is_closed", everywhere,
		"IdleTimeout ends a quiet connection, by FIN (by RST on the wire), and leaves a busy one", idleTimeout, ""},
	{"half_close_timeout", everywhere,
		"HalfCloseTimeout resets a connection whose other end does not end", halfCloseTimeout, ""},
	{"out_of_fds_pauses_accept", once,
		"400 clients of a daemon with 256 fds wait, all are served in the end, and nothing spins", outOfFDs, ""},

	{"flows_are_told_truly", everywhere,
		"shunt flows and shunt status say what both ends of each connection know", toldTruly, ""},

	// What a connection on the wire needs, stands, and outlives.
	{"bytes_are_exact_under_loss", everywhere,
		"0.1, 1 and 5 % lost each way, of large packets and of single segments: every byte arrives", loss, "wire"},
	{"bytes_are_exact_in_disorder", everywhere,
		"2 % doubled and 2 % overtaken, of large packets and of single segments: every byte arrives once", disorder, "wire"},
	{"tiny_windows_and_stalls", everywhere,
		"readers with small buffers, who then don't read at all, get all of it in the end", tinyWindows, "wire"},
	{"small_segments", everywhere,
		"segments of 536 bytes are on the wire; not if the client was told that it may send larger ones", smallSegments, "wire"},
	{"path_may_shrink", everywhere,
		"a router's word that a packet is too big reaches who sent it", shrinkingPath, "wire"},
	{"own_link_may_be_narrow", everywhere,
		"of the proxy's own links one takes but 1300 bytes, from the start or from the middle on: every byte arrives", narrowLink, "wire"},
	{"sequence_numbers_wrap", everywhere,
		"a stream passes the end of the sequence numbers", wraps, "wire"},
	{"more_than_4_gib", once,
		"a stream passes all sequence numbers that there are, and is counted right", wrapsByBytes, "wire"},
	{"keepalive_is_between_the_ends", everywhere,
		"an end's keepalive probes are answered by the other end, and no activity for IdleTimeout", keepAlive, "wire"},
	{"simultaneous_close", everywhere,
		"FINs that cross on their way end the connection", simultaneousClose, "wire"},
	{"last_ack_may_carry_bytes", everywhere,
		"a client whose first bytes come with the handshake's last ACK is on the wire", handshakeBytes, "wire"},
	{"options_that_the_ends_lack", everywhere,
		"without SACK or window scaling at an end, or timestamps at both, it is on the wire; else served, with the reason",
		agreements, "wire"},
	{"not_for_the_wire", everywhere,
		"a client or backend on this host, mixed families, \"Wire\": false: served off the wire, with the reason", leftAlone, "wire"},
	{"flow_is_promoted_under_load", everywhere,
		"a connection that missed its beginning gets on the wire while both directions are full, exact", promoted, "wire"},
	{"brief_connections_begin_off_the_wire", once,
		"where most are over after a message, auto joins those that are not, and all again once it is quiet", brief, "wire"},
	{"ended_flows_leave_no_entry", once,
		"10,000 flows come and go, and the whole table is free again", leavesNothing, "wire"},
	{"flows_outlive_a_killed_daemon", everywhere,
		"after kill -9 all go on without a daemon, and the next one adopts them: bytes, timeouts, records", outlivesKill, "wire"},
	{"flows_outlive_a_stopped_daemon", everywhere,
		"AtStop: left ones go on and are adopted, drained ones are waited for; wire clear ends what is left", outlivesStop, "wire"},

	// Unix sockets.
	{"unix_target_is_served", everywhere,
		"bytes to and from a unix socket, also an abstract one, are exact, with half-closes; dead ones are passed over",
		unixTarget, ""},
	{"unix_listener_is_served", everywhere,
		"clients of a unix socket reach TCP and unix targets, bytes and half-closes are exact", unixListener, ""},
	{"broken_unix_connection_is_told", everywhere,
		"unread bytes at a unix end's close are a RST at the other one, and a RST is an end", unixBroken, ""},
	{"unix_listener_keeps_its_place", once,
		"a dead socket is replaced, a living one and a file are not; a reload keeps queues, and removes what goes", unixPlace, ""},

	// Who the client is.
	{"proxy_header_names_the_client", everywhere,
		"a PROXY header of either version, in pieces, with TLVs, is taken; what follows it arrives exact", headerAccepted, ""},
	{"proxy_header_may_come_after_a_reload", eachFamily,
		"a client whose header is awaited while a reload replaces the target goes to the new one", headerAfterReload, ""},
	{"wrong_proxy_header_is_refused", eachFamily,
		"missing, malformed, cut off, late, or from a stranger: a RST, with the reason, and no backend is bothered", headerRefused, ""},
	{"proxy_header_comes_first", everywhere,
		"a backend gets the header before the first byte, also the second one that is tried, and one that speaks first",
		headerSent, ""},
	{"proxy_header_is_understood_by_others", eachFamily,
		"HAProxy's headers are understood, and HAProxy and nginx understand those that are sent", headerOfOthers, ""},
	{"flow_with_a_header_is_promoted", everywhere,
		"a connection with a header accepted, and one sent, gets on the wire under load, exact", headerPromoted, "wire"},
	{"source_addresses_are_used", everywhere,
		"targets see SourceAddresses in turn, until each has no port left; an absent one is passed over", sourcesUsed, ""},
	{"checks_come_from_the_source_addresses", eachFamily,
		"a target is checked from where its connections will come", sourcesChecked, ""},
	{"transparent_target_sees_the_client", everywhere,
		"with Transparent a target sees the client's own address", transparent, ""},
	{"transparent_needs_a_capability", once,
		"without it the daemon does not start, and says which one", transparentRefused, ""},

	// What goes around the proxy.
	{"local_peers_are_bypassed", everywhere,
		"ends on this host send to each other: in namespaces, over loopback, IPv4 with IPv6; not if the app does not say so",
		peers, bypass},
	{"one_local_end_is_enough", everywhere,
		"an end on this host sends around the proxy, whoever is at the other one; what a stranger sends is relayed", halves, bypass},
	{"bypass_is_switched_off_and_on", everywhere,
		"shunt bypass off and on, again and again under load: every byte arrives, and new ones go the way that was said",
		switchedOff, bypass},
	{"bypass_begins_with_a_reload", everywhere,
		"the first LocalBypass comes by a reload: new connections are bypassed, the old one goes on, without a restart", begunByReload,
		bypass},
	{"unread_bytes_outlive_a_killed_daemon", everywhere,
		"kill -9 while ends have not read what went around: each reads all of it, exact, and then its end", killedWithUnread,
		bypass},
	{"bypassed_flows_end_with_a_killed_daemon", everywhere,
		"after kill -9 both ends of each connection see its end, nothing hangs, and a new daemon bypasses", killedWhileBypassed,
		bypass},

	{"top_follows_the_daemon", once,
		"shunt top shows what goes on, fits the terminal as it changes, outlives the daemon, and leaves no trace", liveView, ""},
	{"metrics_are_true", everywhere,
		"/metrics counts connections, bytes, times and engines as both ends know them", metricsTrue, ""},
	{"metrics_are_what_prometheus_takes", once,
		"promtool check metrics has nothing to say, also with quotes and umlauts in an app's name", metricsAccepted, ""},
	{"readiness_follows_the_daemon", eachFamily,
		"/readyz is 200, and 503 while the daemon drains; /healthz is 200 as long as it lives", readiness, ""},

	{"config_that_is_told_can_be_run", once,
		"what shunt config prints is a configuration that is complete, and the same when it is run", configTold, ""},
	{"log_file_may_be_rotated", once,
		"after SIGUSR1 the log goes to a new file, the one that was moved away stays as it is, and no line is lost", rotated, ""},

	// Another configuration.
	{"reload_keeps_established_flows", everywhere,
		"a reload leaves every flow alone, also of an app and to a target that it removes", reloadKeepsFlows, ""},
	{"reload_drains_what_it_removes", eachFamily,
		"DrainTimeout after a reload, flows of what it removed are reset, and no others", reloadDrains, ""},
	{"reload_of_a_bad_file_changes_nothing", once,
		"every error is told with its place, a port that is taken, too, and all goes on as before", reloadOfABadFile, ""},
	{"reload_loses_no_queued_connection", eachFamily,
		"who is in the queue is served, of a port that stays, changes its app, or goes", reloadOfAQueue, ""},
	{"reload_waits_for_new_names", eachFamily,
		"while a new name is looked up the old target serves; then the new one does", reloadOfNames, ""},
	{"a_thousand_reloads_under_load", once,
		"1,000 reloads cost no connection, no open file and no memory", thousandReloads, ""},
	{"operations_cost_no_flow", eachEngine,
		"reloads, a server that goes and one that comes, a name that moves: 2,000 flows, redis-benchmark and wrk don't notice",
		operations, ""},
	{"everything_at_once", eachEngine,
		"reloads, orders, servers that die, limits, queues, headers, checks, all at random: clients are served exact or reset", everythingAtOnce, ""},

	// The end.
	{"stop_drains", everywhere,
		"after SIGTERM new clients are refused, what is under way ends exact, and the exit status is 0", stopDrains, ""},
	{"stop_serves_who_is_in_the_queue", once,
		"a connection that the kernel had taken before SIGTERM is served, not reset", queuedAtStop, ""},
	{"orders_at_the_socket_are_carried_out", once,
		"shunt drain, stop and log-level do what the signals and the configuration do", orders, ""},
	{"second_stop_is_at_once", once,
		"SIGINT, and the second SIGTERM, reset what is under way", secondStop, ""},
}

// Engines are what trials are repeated with: those of the daemon, and the bypass.
var Engines = []string{"copy", "splice", "sockmap", "wire", bypass, "auto"}

// IsEngine says whether there is an engine of this name.
func IsEngine(name string) bool {
	for _, engine := range Engines {
		if name == engine {
			return true
		}
	}
	return false
}

// Options is what a run is about.
type Options struct {
	Shunt, Config string
	Lossy         string // the object file of test/bpf/lossy.bpf.c
	Engines       []string
	Unprivileged  bool // run the daemon as nobody
	Families      []int
	Only          *regexp.Regexp
	Part, Parts   int // of all trials, the Part-th of each Parts; counted from 1
}

// List prints the table.
func List(out io.Writer) {
	for _, s := range table {
		fmt.Fprintf(out, "%s: %s\n", s.name, s.promise)
	}
}

// Run puts the table to the test and reports each trial.
func Run(l *lab.Lab, o Options, report *trial.Report) {
	sanitized, trials := daemon.Sanitized(o.Shunt), 0
	for i, engine := range o.Engines {
		for j, family := range o.Families {
			for _, s := range table {
				otherEngine, otherFamily := s.lastOf(o.Engines) != i, j > 0
				repeats := otherEngine && (s.scope == eachFamily || s.scope == once) ||
					otherFamily && (s.scope == eachEngine || s.scope == once)
				if repeats || !s.isFor(engine) || !o.Only.MatchString(s.name) {
					continue
				}
				if trials++; trials%o.Parts != o.Part%o.Parts {
					continue
				}
				e := env{Options: o, lab: l, engine: engine, family: family, sanitized: sanitized, recorded: map[string]int{}}
				report.Add(fmt.Sprintf("%s/IPv%d", engine, family), s.name, s.promise, e.try(s))
			}
		}
	}
}

func (s *scenario) isFor(engine string) bool {
	return s.engines == "" || strings.Contains(" "+s.engines+" ", " "+engine+" ")
}

// lastOf is the index of the last engine that the scenario is for, or -1.
func (s *scenario) lastOf(engines []string) int {
	last := -1
	for i, engine := range engines {
		if s.isFor(engine) {
			last = i
		}
	}
	return last
}

// try runs one trial.
func (e *env) try(s scenario) trial.Result {
	return trial.Run(bound, func(t *trial.T) {
		e.T, e.hub = t, &flow.Hub{Deadline: t.Deadline}
		t.Defer(e.hub.Close)
		t.Must(e.lab.SetFamily(e.family))
		s.run(e)
		e.stop()
	})
}
