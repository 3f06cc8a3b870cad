// SPDX-License-Identifier: MIT

// Package scenario is the promises that shunt makes and the trials that they stand. Each trial
// starts a daemon of its own in the lab, and ends with a clean stop of it.
package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
	"shunt/tester/internal/trial"
)

// Ports by convention: apps listen on front and the ones after it, backends listen on back.
const (
	front = 5000
	back  = 9000
)

// env is what a trial works with: the circumstances, the backends, and the daemon once it is
// started.
type env struct {
	*trial.T
	Options
	lab       *lab.Lab
	engine    string
	family    int
	sanitized bool

	hub     *flow.Hub
	daemon  *daemon.Daemon
	admin   string // the daemon's admin socket; "": none
	http    any    // the daemon's Admin.Http; nil: none
	root    keys   // of the config, besides Admin and Apps
	fdLimit int    // for the daemon; 0: the tester's own
	onWire  bool   // the daemon joins what it can on the wire
	offWire bool   // and this trial has connections that it can't join

	hadEngine bool // a daemon of this trial had the engine that it is about

	noBypass bool // none of this trial's connections can be bypassed

	recorded map[string]int // records that endOf has returned, by client
}

// keys is a JSON object: an app, or options of one.
type keys map[string]any

// app is an app that listens on one port; options are further keys.
func app(port int, targets []string, options keys) keys {
	a := keys{"Name": fmt.Sprintf("app-%d", port), "Ports": []int{port}, "Targets": targets}
	for key, value := range options {
		a[key] = value
	}
	return a
}

// at is the address of port back at a backend's host number; backends are numbered from 1.
func (e *env) at(n int) string { return e.backendAt(n, back) }

func (e *env) backendAt(n, port int) string {
	return net.JoinHostPort(lab.Addr(e.family, lab.BackendNet, lab.FirstHost+n-1), fmt.Sprint(port))
}

func (e *env) blackHole() string {
	return net.JoinHostPort(lab.Addr(e.family, lab.BackendNet, lab.BlackHole), fmt.Sprint(back))
}

// backends starts n backends and returns their addresses.
func (e *env) backends(n int, handle flow.Handler) (addrs []string) {
	for i := 1; i <= n; i++ {
		addrs = append(addrs, e.listen(e.at(i), handle).Name)
	}
	return addrs
}

func (e *env) listen(addr string, handle flow.Handler, options ...lab.Option) *flow.Backend {
	b, err := e.hub.Listen(e.lab.Backend, addr, handle, options...)
	e.Must(err)
	return b
}

// start writes a config of these apps and starts a daemon with it.
func (e *env) start(apps ...keys) { e.startFile(e.configure(apps...)) }

// configure writes a config of these apps and returns where it is.
func (e *env) configure(apps ...keys) (path string) {
	if e.admin == "" {
		e.serveAdmin() // for the evidence, if something goes wrong
	}
	admin := keys{"Socket": e.admin}
	if e.http != nil {
		admin["Http"] = e.http
	}
	config := keys{"Admin": admin, "Wire": keys{"Pins": ""}, "Apps": apps}
	if e.engine == bypass {
		config["Defaults"] = keys{"LocalBypass": true, "Wire": false}
	}
	for key, value := range e.root {
		config[key] = value
	}
	text, err := json.Marshal(config)
	e.Must(err)
	path = filepath.Join(e.lab.Dir, "config.json")
	e.Must(os.WriteFile(path, text, 0o644))
	return path
}

// startFile starts the daemon with a config file and waits until it is ready.
func (e *env) startFile(path string) {
	e.launch(path)
	e.awaitReady()
}

// launch starts the daemon with a config file, and does not wait.
func (e *env) launch(path string) {
	d, err := daemon.Start(e.lab.Proxy.Command(e.fdLimit, e.Unprivileged, e.Shunt, "run", "-c", path, "--engine", e.engineOption(),
		"--workers", "2", "--log-format", "json", "--log-level", "info"))
	e.Must(err)
	e.daemon = d
	e.Defer(d.Kill)
	e.Evidence = func() string { return e.evidence(d) }
}

// bypass is no engine of the daemon's: it goes around whichever there is, of apps that have it.
const bypass = "bypass"

func (e *env) engineOption() string {
	if e.engine == bypass {
		return "auto"
	}
	return e.engine
}

// awaitReady waits until the daemon is ready, and ends the trial if it has no such engine.
func (e *env) awaitReady() {
	d := e.daemon
	e.Until("the daemon is ready", func() bool {
		if d.Exited() {
			e.Failf("the daemon did not start: %s", d.ExitState())
		}
		return d.Count("ready") > 0
	})
	engines := func(name, state string) []daemon.Record {
		return d.Records(func(r *daemon.Record) bool { return r.Event == "engine" && r.State == state && r.Engine == name })
	}
	if off := engines(e.engine, "off"); len(off) > 0 {
		if e.hadEngine {
			e.Failf("promised the engine that the daemon before this one had, %s is off: %s", e.engine, off[0].Why)
		}
		e.judgeTrial(e.engine)
		e.Skipf("the engine %s is off: %s", e.engine, off[0].Why)
	}
	e.hadEngine = true
	e.onWire = (e.engine == "wire" || e.engine == "auto") && len(engines("wire", "ready")) > 0
}

// judgeTrial wants an engine that is off to be one that this host can't have, and not one that can be loaded and
// was found wrong, now or when the daemon tried it: that is a failure, and a skip would hide it.
func (e *env) judgeTrial(engine string) {
	var checks []struct{ Name, Status, Found string }
	out, _ := e.lab.Proxy.Command(0, e.Unprivileged, e.Shunt, "probe", "--json").Output()
	e.Must(json.Unmarshal(out, &checks))
	loads := false
	for _, c := range checks {
		loads = loads || c.Name == engine+"_load" && c.Status == "works"
		if loads && strings.HasPrefix(c.Name, engine) && c.Status == "FAILS" {
			e.Failf("the engine %s can be loaded, but %s: %s", engine, c.Name, c.Found)
		}
	}
	if loads {
		e.Failf("the engine %s works when it is tried again, and the daemon had it off", engine)
	}
}

// evidence is what the daemon has to do with a failure.
func (e *env) evidence(d *daemon.Daemon) string {
	text := d.Tail()
	if !d.Exited() && e.admin != "" {
		text = e.flows() + text
	}
	if d.Exited() {
		text = fmt.Sprintf("the daemon is gone (%s)\n%s", d.ExitState(), text)
	}
	if err := d.Alarm(); err != nil {
		text = fmt.Sprintf("%v\n%s", err, text)
	}
	return text
}

// flows is what the daemon says of the first connections that it has, when one of them went wrong.
func (e *env) flows() string {
	const most = 2000
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, e.Shunt, "flows", "--why", "--socket", e.admin).CombinedOutput()
	if len(out) > most {
		out = append(out[:most], "...\n"...)
	}
	return "the daemon's connections:\n" + string(out)
}

// stop is the end of every trial that has gone well: SIGTERM, a full drain, exit status 0.
func (e *env) stop() {
	e.hub.Close()
	if e.daemon == nil {
		return
	}
	if e.daemon.Exited() {
		e.Failf("the daemon went before it was told to: %s", e.daemon.ExitState())
	}
	e.judgeBypass()
	e.daemon.Signal(syscall.SIGTERM)
	e.awaitExit()
}

// awaitExit waits for the end of a daemon that was told to stop.
func (e *env) awaitExit() {
	e.Until("the daemon exits", e.daemon.Exited)
	e.Must(e.daemon.Alarm())
	if e.daemon.ExitCode() != 0 {
		e.Failf("the daemon's end: %s", e.daemon.ExitState())
	}
	e.judgeEngines()
	e.daemon = nil
}

// kill ends the daemon at once.
func (e *env) kill() {
	e.daemon.Kill()
	e.judgeEngines()
	e.daemon = nil
}

// briefBytes is more than the tester's connections move that auto may leave off the wire, where many of
// them come and go (brief.go).
const briefBytes = 16 << 10

// judgeEngines wants every connection of the daemon's that has moved bytes to have been on the wire, if
// that is what the trial is about.
func (e *env) judgeEngines() {
	if !e.onWire || e.offWire {
		return
	}
	least := int64(0)
	if e.engine == "auto" {
		least = briefBytes
	}
	missed := e.records(func(r *daemon.Record) bool { return r.ToBackend+r.ToClient > least && r.Engine != "wire" })
	if len(missed) > 0 {
		e.Failf("%d connections were not on the wire, the first, of %s, was on %s", len(missed), missed[0].Client,
			missed[0].Engine)
	}
}

// judgeBypass wants some of what its ends have sent to have gone around the daemon, likewise.
func (e *env) judgeBypass() {
	if e.engine != bypass || e.noBypass || e.admin == "" {
		return
	}
	moved := e.records(func(r *daemon.Record) bool { return r.ToBackend > 0 })
	if len(moved) > 0 && e.shunt("status")[0].Bypass["redirected"] == 0 {
		e.Failf("%d connections have moved bytes, and nothing went around the daemon", len(moved))
	}
}

// dialFrom connects from a namespace, and an address there, "" for any, to a port of the proxy's address
// in a network; the connection closes with the hub.
func (e *env) dialFrom(ns *lab.NS, from string, network, port int, options ...lab.Option) (*flow.Conn, error) {
	addr := net.JoinHostPort(lab.Addr(e.family, network, lab.ProxyHost), fmt.Sprint(port))
	tcp, err := ns.Dial(from, addr, e.Deadline, options...)
	if err != nil {
		return nil, err
	}
	c := flow.NewConn("client", tcp, e.Deadline)
	e.hub.Own(c)
	return c, nil
}

// tryDial connects from a client's address, "" for any.
func (e *env) tryDial(port int, from string, options ...lab.Option) (*flow.Conn, error) {
	return e.dialFrom(e.lab.Client, from, lab.ClientNet, port, options...)
}

func (e *env) dial(port int, options ...lab.Option) *flow.Conn {
	c, err := e.tryDial(port, "", options...)
	e.Must(err)
	return c
}

// pair opens a connection and returns both of its ends. The handler is Hold or Echo.
func (e *env) pair(port int, options ...lab.Option) (client, backend *flow.Conn) {
	c := e.dial(port, options...)
	return c, e.meet(c)
}

// meet sends the token of a new connection, and returns its other end.
func (e *env) meet(c *flow.Conn) *flow.Conn {
	token, err := c.SendToken()
	e.Must(err)
	b, err := e.hub.Take(token)
	e.Must(err)
	return b
}

// ask opens a connection to an echo, has n bytes echoed, and compares them at both ends. The
// connection stays open.
func (e *env) ask(port int, n int64) (client, backend *flow.Conn) {
	return e.askFrom(port, n, "")
}

func (e *env) askFrom(port int, n int64, from string) (client, backend *flow.Conn) {
	c, err := e.tryDial(port, from)
	e.Must(err)
	token, err := c.SendToken()
	e.Must(err)
	e.Must(c.Recv(flow.TokenSize, flow.Steady))
	e.Must(c.Ask(n, flow.Steady))
	b, err := e.hub.Take(token)
	e.Must(err)
	e.Must(flow.Match(c, b))
	return c, b
}

// visits asks n times, one connection after the other, and counts by backend.
func (e *env) visits(port, n int) map[string]int {
	count := make(map[string]int)
	for i := 0; i < n; i++ {
		c, b := e.ask(port, 100)
		count[b.Name]++
		e.Must(c.Close())
	}
	return count
}

// ended waits for the connection's record and checks the reason and the byte counts in it.
func (e *env) ended(c *flow.Conn, reason string) daemon.Record {
	var found []daemon.Record
	e.Until("a record of the connection from "+c.Local(), func() bool {
		found = e.daemon.Records(func(r *daemon.Record) bool {
			return r.Event == "connection" && isOf(c, r.Client, r.Listener)
		})
		return len(found) > 0
	})
	r := found[0]
	if r.Reason != reason {
		e.Failf("promised the close reason %q, the record says %q", reason, r.Reason)
	}
	if reason == "done" && (r.ToBackend != c.Sent() || r.ToClient != c.Received()) {
		e.Failf("the record counts %d bytes to the backend and %d to the client, the client sent %d and received %d",
			r.ToBackend, r.ToClient, c.Sent(), c.Received())
	}
	return r
}

// isOf says whether a client and a listener are those of a connection. The kernel may give two of a
// client's connections the same port, if they lead to different ones.
func isOf(c *flow.Conn, client, listener string) bool {
	remote := c.Remote()
	return client == c.Local() && strings.HasSuffix(listener, remote[strings.LastIndexByte(remote, ':'):])
}

// refused connects, is reset for the given reason, and returns the record of it. The reset may come
// so soon that connect(2) is the one to see it.
func (e *env) refused(port int, reason string) daemon.Record {
	ofReason := func(r *daemon.Record) bool { return r.Reason == reason }
	before := len(e.records(ofReason))
	c, err := e.tryDial(port, "")
	if err == nil {
		err = c.RecvReset()
	} else if errors.Is(err, syscall.ECONNRESET) {
		err = nil
	}
	e.Must(err)
	e.Until("a record of the reason "+reason, func() bool { return len(e.records(ofReason)) > before })
	return e.records(ofReason)[before]
}

// records is the connection records of one kind so far.
func (e *env) records(keep func(*daemon.Record) bool) []daemon.Record {
	return e.daemon.Records(func(r *daemon.Record) bool { return r.Event == "connection" && keep(r) })
}
