// SPDX-License-Identifier: MIT

package scenario

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// claims are the ends of a connection that headers speak of, by family: nobody has these addresses.
var claims = map[int]flow.Header{
	4: {From: "192.0.2.7:1234", To: "198.51.100.7:443"},
	6: {From: "[2001:db8::7]:1234", To: "[2001:db8::1]:443"},
}

// accepts is the options of an app that takes headers from the lab's clients.
func (e *env) accepts(options keys) keys {
	protocol := keys{"Accept": "on", "TrustedFrom": []string{"10.91.1.0/24", "fd91:1::/64"}}
	for key, value := range options {
		protocol[key] = value
	}
	return keys{"ProxyProtocol": protocol}
}

// begin connects and sends a header, a piece at a time.
func (e *env) begin(port int, pieces ...[]byte) *flow.Conn {
	c := e.dial(port)
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(time.Millisecond) // for the one before to be a segment of its own
		}
		e.Must(c.SendBefore(piece))
	}
	return c
}

// endOf waits for the next record of a client's connection, which may be one that a header has named.
func (e *env) endOf(client, reason string) daemon.Record {
	var found []daemon.Record
	e.Until("a record of the connection from "+client, func() bool {
		found = e.records(func(r *daemon.Record) bool { return r.Client == client })
		return len(found) > e.recorded[client]
	})
	r := found[e.recorded[client]]
	e.recorded[client]++
	if r.Reason != reason {
		e.Failf("promised the close reason %q, the record says %q", reason, r.Reason)
	}
	return r
}

func headerAccepted(e *env) {
	e.offWire, e.noBypass = true, true
	e.start(app(front, e.backends(1, flow.Hold), e.accepts(nil)))
	claim := claims[e.family]
	v1, v2 := flow.ProxyV1(claim.From, claim.To), flow.ProxyV2(claim.From, claim.To, []byte{4, 0, 2, 7, 7})
	long := flow.ProxyV2(claim.From, claim.To, make([]byte, 65000))
	var bytewise [][]byte
	for _, header := range [][]byte{v1, v2} {
		for i := range header {
			bytewise = append(bytewise, header[i:i+1])
		}
	}
	for _, pieces := range [][][]byte{{v1}, {v2}, {long}, bytewise[:len(v1)], bytewise[len(v1):]} {
		c := e.begin(front, pieces...)
		b := e.meet(c)
		e.carry(c, b, mib, flow.Ragged)
		r := e.endOf(claim.From, "done")
		if r.ToBackend != c.Sent() || r.ToClient != c.Received() {
			e.Failf("the record counts %d and %d bytes, the client sent %d and received %d", r.ToBackend, r.ToClient,
				c.Sent(), c.Received())
		}
	}
	// One that speaks for nobody but itself.
	for _, header := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		c := e.begin(front, []byte(header))
		e.carry(c, e.meet(c), 1000, flow.Steady)
		e.ended(c, "done")
	}
	e.Sawf("headers of %d to %d bytes", len(v1), len(long))
}

// headerAfterReload has a client say who it is after its target has left the configuration.
func headerAfterReload(e *env) {
	e.offWire, e.noBypass = true, true
	e.serveAdmin()
	targets := e.backends(2, flow.Hold)
	e.start(app(front, targets[:1], e.accepts(nil)))
	claim := claims[e.family]
	header := flow.ProxyV1(claim.From, claim.To)
	c := e.begin(front, header[:10])
	e.Until("the daemon waits for its header", func() bool {
		rows := e.shunt("flows")
		return len(rows) == 1 && rows[0].State == "header" && e.shunt("status")[0].States["header"] == 1
	})
	e.reload(app(front, targets[1:], e.accepts(nil)))
	e.Must(c.SendBefore(header[10:]))
	b := e.meet(c)
	if b.Name != targets[1] {
		e.Failf("it is at %s, which has been removed", b.Name)
	}
	e.carry(c, b, 1000, flow.Steady)
	e.endOf(claim.From, "done")
}

func headerRefused(e *env) {
	e.offWire, e.noBypass = true, true
	const timeout = time.Second
	backends := e.backends(1, flow.Hold)
	stranger := keys{"TrustedFrom": []string{"192.0.2.0/24", "2001:db8::/32"}}
	e.start(app(front, backends, e.accepts(keys{"Timeout": timeout.String()})),
		app(front+1, backends, e.accepts(stranger)))
	claim := claims[e.family]
	v1, v2 := flow.ProxyV1(claim.From, claim.To), flow.ProxyV2(claim.From, claim.To, make([]byte, 10))
	badPort := strings.Replace(string(v1), "1234", "01234", 1)
	badVersion := append(append([]byte{}, v2[:12]...), 0x31)
	for _, t := range []struct {
		port   int
		header []byte
		ends   bool // with a FIN
		reason string
	}{
		{front, []byte("GET / HTTP/1.1\r\n\r\n"), false, "header_missing"},
		{front, nil, true, "header_missing"},
		{front, []byte(badPort), false, "header_malformed"},
		{front, badVersion, false, "header_malformed"},
		{front, v1[:len(v1)-1], true, "header_malformed"},
		{front, v2[:20], true, "header_malformed"},
		{front, nil, false, "header_timeout"},
		{front, v1[:10], false, "header_timeout"},
		{front, v2[:len(v2)-1], false, "header_timeout"},
		{front + 1, v1, false, "header_untrusted"},
	} {
		before := len(e.records(func(r *daemon.Record) bool { return r.Reason == t.reason }))
		c, err := e.tryDial(t.port, "")
		if err == nil {
			err = c.SendBefore(t.header)
		}
		if err == nil && t.ends {
			err = c.CloseWrite()
		}
		if err == nil {
			err = c.RecvReset()
		}
		if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			e.Must(err)
		}
		e.Until("a record of the reason "+t.reason, func() bool {
			return len(e.records(func(r *daemon.Record) bool { return r.Reason == t.reason })) > before
		})
	}
	for _, r := range e.records(func(*daemon.Record) bool { return true }) {
		if r.Attempts > 0 {
			e.Failf("a backend was asked for a connection that ended with %s", r.Reason)
		}
	}
	e.Sawf("10 ways to be wrong")
}

// headerSent has both versions arrive at backends that the client can't tell apart from others, the first
// target being dead, or a black hole that takes the time to connect.
func headerSent(e *env) {
	e.offWire, e.noBypass = true, true
	good := e.listen(e.at(1), flow.Headed(flow.Hold)).Name
	greets := e.listen(e.at(3), flow.Headed(flow.Greet)).Name
	send := func(version string) keys {
		return keys{"ProxyProtocol": keys{"Send": version}, "Balance": "round_robin", "ConnectTimeout": "200ms"}
	}
	both := e.accepts(keys{"Send": "v2"})
	e.start(app(front, []string{e.at(2), good}, send("v1")), app(front+1, []string{e.blackHole(), good}, send("v2")),
		app(front+2, []string{good}, both), app(front+3, []string{greets}, send("v2")))
	for port := front; port <= front+1; port++ {
		for i := 0; i < 2; i++ {
			c, b := e.pair(port)
			if b.Header.From != c.Local() || b.Header.To != c.Remote() {
				e.Failf("the backend was told %+v of the connection from %s to %s", b.Header, c.Local(), c.Remote())
			}
			e.carry(c, b, mib, flow.Ragged)
			e.ended(c, "done")
		}
	}
	for _, claim := range claims { // also one of the other family
		c := e.begin(front+2, flow.ProxyV1(claim.From, claim.To))
		b := e.meet(c)
		if b.Header != claim {
			e.Failf("the backend was told %+v, not %+v", b.Header, claim)
		}
		e.carry(c, b, 1000, flow.Steady)
		e.endOf(claim.From, "done")
	}
	c := e.dial(front + 3)
	token, err := c.ReadToken()
	e.Must(err)
	b, err := e.hub.Take(token)
	e.Must(err)
	if b.Header.From != c.Local() {
		e.Failf("a backend that greets was told %+v", b.Header)
	}
	e.carry(c, b, 1000, flow.Steady)
	e.ended(c, "done")
}

// headerPromoted has flows begin with a header on either side, and be joined while both directions are full.
func headerPromoted(e *env) {
	const after = 4 * mib
	e.serveAdmin()
	good := e.listen(e.at(1), flow.Headed(flow.Hold)).Name
	plain := e.listen(e.at(2), flow.Hold).Name
	e.start(app(front, []string{plain}, e.accepts(nil)),
		app(front+1, []string{good}, keys{"ProxyProtocol": keys{"Send": "v1"}}),
		app(front+2, []string{good}, e.accepts(keys{"Send": "v2"})))
	claim := claims[e.family]
	for port := front; port <= front+2; port++ {
		c := e.dial(port)
		client := c.Local()
		if port != front+1 {
			e.Must(c.SendBefore(flow.ProxyV2(claim.From, claim.To, nil)))
			client = claim.From
		}
		b := e.meet(c)
		e.Until("the flow is on the wire", func() bool {
			e.exchange(c, b, mib/4)
			ways := 0
			for _, row := range e.shunt("flows", "--why") {
				if row.Client != client {
					continue
				}
				if row.Engine != "wire" && strings.Contains(row.Why, "not on the wire:") {
					e.Failf("it is on %s: %s", row.Engine, row.Why)
				}
				if row.Engine != "wire" {
					return false
				}
				ways++
			}
			return ways > 0
		})
		e.exchange(c, b, after)
		e.finish(c, b)
		if r := e.endOf(client, "done"); r.Engine != "wire" {
			e.Failf("the flow of port %d ended on %s", port, r.Engine)
		}
	}
	e.Sawf("accepted, sent, and both")
}

// runs starts a program in a namespace, which ends with the trial.
func (e *env) runs(ns *lab.NS, args ...string) {
	cmd := ns.Command(0, false, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	e.Must(cmd.Start())
	e.Defer(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and who it has forked
		_ = cmd.Wait()
	})
}

// tool finds a program that the trial can't do without.
func (e *env) tool(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		e.Skipf("%s is not there", name)
	}
	return path
}

const haproxyConfig = `global
	maxconn 100
defaults
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend v1
	bind %[1]s:7001
	default_backend v1
backend v1
	server shunt %[2]s send-proxy
frontend v2
	bind %[1]s:7002
	default_backend v2
backend v2
	server shunt %[2]s send-proxy-v2 proxy-v2-options unique-id,crc32c
`

const haproxyBackendConfig = `global
	maxconn 100
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend tells
	bind %[1]s:9001 accept-proxy
	http-request return status 200 content-type text/plain lf-string "%%ci %%cp"
`

const nginxStreamConfig = `daemon off;
pid %[2]s/nginx.pid;
error_log %[2]s/nginx.log;
events { worker_connections 100; }
http {
	access_log off;
	client_body_temp_path %[2]s/a; proxy_temp_path %[2]s/b; fastcgi_temp_path %[2]s/c;
	uwsgi_temp_path %[2]s/d; scgi_temp_path %[2]s/e;
	server {
		listen %[1]s:9002 proxy_protocol;
		location / { return 200 "$proxy_protocol_addr $proxy_protocol_port"; }
	}
}
`

// headerOfOthers puts HAProxy before shunt, and HAProxy and nginx behind it.
func headerOfOthers(e *env) {
	haproxy, nginx := e.tool("haproxy"), e.tool("nginx")
	e.offWire, e.noBypass = true, true
	host := func(network, host int) string {
		a := lab.Addr(e.family, network, host)
		if e.family == 6 {
			a = "[" + a + "]"
		}
		return a
	}
	folder := filepath.Join(e.lab.Dir, "others")
	e.Must(os.MkdirAll(folder, 0o755))
	e.Defer(func() { os.RemoveAll(folder) })
	write := func(name, format string, values ...any) string {
		path := filepath.Join(folder, name)
		e.Must(os.WriteFile(path, []byte(fmt.Sprintf(format, values...)), 0o644))
		return path
	}
	before, behind := host(lab.ClientNet, lab.FirstHost), host(lab.BackendNet, lab.FirstHost)
	e.runs(e.lab.Client, haproxy, "-f",
		write("before.cfg", haproxyConfig, before, fmt.Sprintf("%s:%d", host(lab.ClientNet, lab.ProxyHost), front)))
	e.runs(e.lab.Backend, haproxy, "-f", write("behind.cfg", haproxyBackendConfig, behind))
	e.runs(e.lab.Backend, nginx, "-c", write("nginx.conf", nginxStreamConfig, behind, folder))
	apps := []keys{app(front, []string{e.listen(e.at(2), flow.Headed(flow.Hold)).Name}, e.accepts(keys{"Send": "v1"}))}
	for i, version := range []string{"v1", "v2"} {
		apps = append(apps, app(front+1+2*i, []string{behind + ":9001"}, keys{"ProxyProtocol": keys{"Send": version}}),
			app(front+2+2*i, []string{behind + ":9002"}, keys{"ProxyProtocol": keys{"Send": version}}))
	}
	e.start(apps...)

	for _, port := range []string{"7001", "7002"} {
		var c *flow.Conn
		e.Until("HAProxy answers", func() bool {
			tcp, err := e.lab.Client.Dial("", net.JoinHostPort(lab.Addr(e.family, lab.ClientNet, lab.FirstHost), port), e.Deadline)
			if err != nil {
				return false
			}
			c = flow.NewConn("client", tcp, e.Deadline)
			e.hub.Own(c)
			return true
		})
		b := e.meet(c)
		if b.Header.From != c.Local() || b.Header.To != c.Remote() {
			e.Failf("the backend was told %+v of the connection from %s to %s", b.Header, c.Local(), c.Remote())
		}
		e.carry(c, b, mib, flow.Ragged)
		e.endOf(c.Local(), "done")
	}
	for port := front + 1; port <= front+4; port++ {
		var told, local string
		e.Until(fmt.Sprintf("an answer at port %d", port), func() bool {
			c, err := e.tryDial(port, "")
			if err != nil {
				return false
			}
			local = c.Local()
			told, err = e.asked(c)
			return err == nil
		})
		from, at, _ := net.SplitHostPort(local)
		if told != from+" "+at {
			e.Failf("at port %d the other one says that the client is %q, it is %s", port, told, local)
		}
	}
	e.Sawf("both versions, from HAProxy, to HAProxy and to nginx")
}

// asked asks an HTTP server at the other end of a connection for a text.
func (e *env) asked(c *flow.Conn) (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}
