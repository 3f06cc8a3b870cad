// SPDX-License-Identifier: MIT

package scenario

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/lab"
	"shunt/tester/internal/program"
)

// postgresFolder is where Debian has what its wrappers call.
const postgresFolder = "/usr/lib/postgresql/*/bin"

// need finds programs of a Debian package, or ends the trial.
func (e *env) need(debian, folder string, names ...string) (paths []string) {
	for _, name := range names {
		path, err := program.Find(name, folder)
		if err != nil {
			e.Skipf("%s is not there (Debian: %s)", name, debian)
		}
		paths = append(paths, path)
	}
	return paths
}

// serveBy starts a server in the backends' namespace, and waits until it listens.
func (e *env) serveBy(addr string, unprivileged bool, args ...string) *program.Program {
	p, err := program.Start(e.lab.Backend.Command(0, unprivileged, args...))
	e.Must(err)
	e.Defer(p.Kill)
	e.Until(args[0]+" listens", func() bool {
		if p.Exited() {
			_, err := p.Wait(e.Deadline)
			e.Failf("%s did not stay: %v", args[0], err)
		}
		c, err := e.lab.Backend.Dial("", addr, e.Deadline)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// runIn runs a client in a namespace, and returns what it has printed.
func (e *env) runIn(ns *lab.NS, stdin string, args ...string) string {
	cmd := ns.Command(0, false, args...)
	cmd.Stdin = strings.NewReader(stdin)
	p, err := program.Start(cmd)
	e.Must(err)
	e.Defer(p.Kill)
	out, err := p.Wait(e.Deadline)
	e.Must(err)
	return out
}

// proxied is the proxy's address as clients know it.
func (e *env) proxied(port int) (host, textPort string) {
	return lab.Addr(e.family, lab.ClientNet, lab.ProxyHost), strconv.Itoa(port)
}

// sameAsDirect runs a client through the proxy, and beside the server without it, and wants both to say the
// same. Its arguments may depend on where it connects to.
func (e *env) sameAsDirect(what, addr, stdin string, args func(host, port string) []string) string {
	host, port, err := net.SplitHostPort(addr)
	e.Must(err)
	direct := e.runIn(e.lab.Backend, stdin, args(host, port)...)
	through := e.runIn(e.lab.Client, stdin, args(e.proxied(front))...)
	if through != direct {
		e.Failf("%s: %d bytes of answers through the proxy are not the %d without it", what, len(through), len(direct))
	}
	return through
}

// flowsEnded waits for the records of so many connections, none of which may have ended by the proxy's
// doing.
func (e *env) flowsEnded(n int) {
	e.Until(fmt.Sprintf("records of %d connections", n), func() bool { return e.daemon.Count("connection") >= n })
	if got := e.daemon.Count("connection"); got != n {
		e.Failf("%d connections are in the log, promised %d", got, n)
	}
	bad := e.records(func(r *daemon.Record) bool {
		return r.Reason != "done" && r.Reason != "client_reset" && r.Reason != "backend_reset"
	})
	if len(bad) > 0 {
		e.Failf("a connection of %s ended by %q", bad[0].Client, bad[0].Reason)
	}
}

// redis writes and reads, and lets the server itself compare: DEBUG DIGEST is of all its data.
func redis(e *env) {
	const keysWritten, requests = 2000, 10000
	paths := e.need("redis-server", "", "redis-server", "redis-cli", "redis-benchmark")
	server, cli, benchmark := paths[0], paths[1], paths[2]
	host, port, err := net.SplitHostPort(e.at(1))
	e.Must(err)
	e.serveBy(e.at(1), false, server, "--bind", host, "--port", port, "--save", "", "--dir", e.lab.Dir,
		"--protected-mode", "no", "--enable-debug-command", "yes")
	e.start(app(front, []string{e.at(1)}, nil))

	stat := func(name string) int {
		text := e.runIn(e.lab.Backend, "", cli, "-h", host, "-p", port, "INFO", "stats")
		_, text, _ = strings.Cut(text, name+":")
		text, _, _ = strings.Cut(text, "\r")
		n, err := strconv.Atoi(text)
		e.Must(err)
		return n
	}
	before := stat("total_connections_received")
	said := e.sameAsDirect("redis-cli", e.at(1), redisScript(keysWritten), func(host, port string) []string {
		return []string{cli, "-h", host, "-p", port}
	})
	if !strings.Contains(said, fmt.Sprintf("\n%d\n", keysWritten)) {
		e.Failf("DBSIZE is not %d", keysWritten)
	}
	for _, pipelined := range []string{"1", "16"} {
		host, port := e.proxied(front)
		out := e.runIn(e.lab.Client, "", benchmark, "-h", host, "-p", port, "-n", strconv.Itoa(requests), "-P", pipelined,
			"-t", "ping_mbulk,set,get,lpush,lrange_100,mset", "--csv")
		if strings.Contains(strings.ToLower(out), "err") || strings.Count(out, "\n") < 6 {
			e.Failf("redis-benchmark says: %s", out)
		}
	}
	if errors := stat("total_error_replies"); errors > 0 {
		e.Failf("redis-server has answered %d times by an error", errors)
	}
	const direct = 3 // by redis-cli: the script, and stat twice
	e.flowsEnded(stat("total_connections_received") - before - direct)
	e.Sawf("%d bytes of answers; redis-benchmark over %d connections", len(said), e.daemon.Count("connection")-1)
}

// redisScript sets keys, some of them large, reads them back, and asks for the number and the digest of all.
func redisScript(n int) string {
	const large = 100000
	var script strings.Builder
	script.WriteString("FLUSHALL\n")
	for i := 0; i < n; i++ {
		size := 1 + i*7%1000
		if i%200 == 0 {
			size = large
		}
		fmt.Fprintf(&script, "SET key:%d %s\n", i, strings.Repeat(string(rune('a'+i%26)), size))
	}
	for i := 0; i < n; i++ {
		fmt.Fprintf(&script, "GET key:%d\n", i)
	}
	script.WriteString("DBSIZE\nDEBUG DIGEST\n")
	return script.String()
}

// postgresAsNobody makes a cluster and serves it; PostgreSQL does not run as root.
func (e *env) postgresAsNobody(initdb, server string) {
	folder := filepath.Join(e.lab.Dir, "postgresql")
	e.Defer(func() { os.RemoveAll(folder) })
	e.Must(os.MkdirAll(folder, 0o700))
	out, err := exec.Command("chown", "nobody:nogroup", folder).CombinedOutput()
	if err != nil {
		e.Failf("chown: %w: %s", err, out)
	}
	data := filepath.Join(folder, "data")
	cluster, err := program.Start(e.lab.Backend.Command(0, true, initdb, "-D", data, "-U", "postgres", "-A", "trust",
		"--no-sync", "--locale", "C", "-E", "UTF8"))
	e.Must(err)
	e.Defer(cluster.Kill)
	_, err = cluster.Wait(e.Deadline)
	e.Must(err)
	access, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	e.Must(err)
	_, err = access.WriteString("host all all all trust\n")
	e.Must(err)
	e.Must(access.Close())
	host, port, err := net.SplitHostPort(e.at(1))
	e.Must(err)
	e.serveBy(e.at(1), true, server, "-D", data, "-p", port, "-c", "listen_addresses="+host,
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=40")
}

// postgres fills pgbench's tables, has it do its transactions, and compares the sums that they must have
// left alone.
func postgres(e *env) {
	const clients, each = 8, 100
	client := e.need("postgresql", postgresFolder, "psql", "pgbench")
	psql, pgbench := client[0], client[1]
	server := e.need("postgresql", postgresFolder, "initdb", "postgres")
	e.postgresAsNobody(server[0], server[1])
	e.serveAdmin()
	e.start(app(front, []string{e.at(1)}, nil))
	host, port := e.proxied(front)
	at := func(host, port string, args ...string) []string {
		return append(args, "-h", host, "-p", port, "-U", "postgres", "postgres")
	}

	e.Until("PostgreSQL is ready", func() bool { // it listens before it is
		host, port, _ := net.SplitHostPort(e.at(1))
		ready := e.lab.Backend.Command(0, false, at(host, port, psql, "-c", "select 1")...)
		return ready.Run() == nil
	})
	e.runIn(e.lab.Client, "", at(host, port, pgbench, "-i", "-q")...)
	for _, protocol := range []string{"simple", "prepared"} {
		out := e.runIn(e.lab.Client, "", at(host, port, pgbench, "-n", "-c", strconv.Itoa(clients), "-j", "2",
			"-t", strconv.Itoa(each), "-M", protocol)...)
		for _, promised := range []string{fmt.Sprintf("actually processed: %d/%d\n", clients*each, clients*each),
			"number of failed transactions: 0 "} {
			if !strings.Contains(out, promised) {
				e.Failf("promised %q, pgbench says: %s", promised, out)
			}
		}
	}
	query := func(sql string) string {
		return e.sameAsDirect(sql, e.at(1), sql, func(host, port string) []string { return at(host, port, psql, "-At") })
	}
	sums := query(`select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts),
		sum(delta) = (select sum(tbalance) from pgbench_tellers),
		sum(delta) = (select sum(bbalance) from pgbench_branches) from pgbench_history;`)
	if promised := fmt.Sprintf("%d|t|t|t\n", 2*clients*each); sums != promised {
		e.Failf("promised %q, the database says %q", promised, sums)
	}
	table := query("copy (select * from pgbench_accounts order by aid) to stdout;")
	e.flowsEnded(e.shunt("status")[0].Accepted)
	e.Sawf("%d transactions, balanced; a table of %d bytes; %d connections", 2*clients*each, len(table),
		e.daemon.Count("connection"))
}

// iperf3 sends in one direction, the other, and both. Its receiver may stop before it has all, so what it
// counts bounds what the proxy does: no less than was received, no more than was sent and said besides.
func iperf3(e *env) {
	const streams, bytes, controlMax = 4, 64 * mib, 64 << 10
	path := e.need("iperf3", "", "iperf3")[0]
	host, port, err := net.SplitHostPort(e.at(1))
	e.Must(err)
	e.serveBy(e.at(1), false, path, "-s", "-B", host, "-p", port)
	e.start(app(front, []string{e.at(1)}, nil))
	host, port = e.proxied(front)
	var total int64
	for _, mode := range []struct {
		options []string
		conns   int
	}{{nil, streams}, {[]string{"--reverse"}, streams}, {[]string{"--bidir"}, 2 * streams}} {
		before := e.daemon.Count("connection")
		out := e.runIn(e.lab.Client, "", append([]string{path, "-c", host, "-p", port, "-P", strconv.Itoa(streams),
			"-n", strconv.Itoa(bytes), "--json"}, mode.options...)...)
		var said struct{ End map[string]json.RawMessage }
		e.Must(json.Unmarshal([]byte(out), &said))
		sent, received := e.iperfSum(said.End, "sum_sent"), e.iperfSum(said.End, "sum_received")
		e.flowsEnded(before + mode.conns + 1)
		counted := int64(0)
		for _, r := range e.records(func(*daemon.Record) bool { return true })[before:] {
			counted += r.ToBackend + r.ToClient
		}
		if sent < bytes || counted < received || counted > sent+controlMax {
			e.Failf("iperf3 %v has sent %d bytes and received %d, the log counts %d", mode.options, sent, received, counted)
		}
		total += received
	}
	e.Sawf("%d bytes to the backend, from it, and both ways", total)
}

// iperfSum adds up one of iperf3's sums, of which there is another one for the other direction.
func (e *env) iperfSum(sums map[string]json.RawMessage, prefix string) (total int64) {
	for name, text := range sums {
		if strings.HasPrefix(name, prefix) {
			var sum struct{ Bytes int64 }
			e.Must(json.Unmarshal(text, &sum))
			total += sum.Bytes
		}
	}
	return total
}
