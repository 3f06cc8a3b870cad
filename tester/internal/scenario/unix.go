// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
)

// socketFolder is where the trial has its unix sockets; the daemon may be nobody's.
func (e *env) socketFolder() string {
	folder := filepath.Join(e.lab.Dir, "sockets")
	e.Must(os.MkdirAll(folder, 0o777))
	e.Must(os.Chmod(folder, 0o777))
	e.Defer(func() { os.RemoveAll(folder) })
	return folder
}

func (e *env) listenUnix(path string, handle flow.Handler) *flow.Backend {
	b, err := e.hub.ListenUnix(e.lab.Proxy, path, handle)
	e.Must(err)
	if path[0] != '@' {
		e.Must(os.Chmod(path, 0o777))
	}
	return b
}

func (e *env) dialUnix(path string) *flow.Conn {
	conn, err := e.lab.Proxy.DialUnix(path, e.Deadline)
	e.Must(err)
	c := flow.NewConn("client", conn, e.Deadline)
	e.hub.Own(c)
	return c
}

// onItsEngine wants connections with a unix end on the engine that was asked for, or off one that does not
// take them, with the reason.
func (e *env) onItsEngine(row told) {
	joins := e.engine == "sockmap" || e.engine == "wire"
	switch {
	case (e.engine == "copy" || e.engine == "splice") && row.Engine != e.engine:
		e.Failf("promised the engine %s, it is on %s: %s", e.engine, row.Engine, row.Why)
	case joins && (row.Engine == e.engine || !strings.Contains(row.Why, "a unix socket")):
		e.Failf("promised a reason why it is not on %s, it is on %s: %s", e.engine, row.Engine, row.Why)
	}
}

func unixTarget(e *env) {
	const conns = 4
	e.offWire, e.noBypass = true, true
	e.serveAdmin()
	folder := e.socketFolder()
	good, dead := folder+"/good", folder+"/dead"
	e.listenUnix(good, flow.Hold)
	e.listenUnix("@shunt-test", flow.Hold)
	leftover, err := e.lab.Proxy.ListenUnix(dead)
	e.Must(err)
	leftover.SetUnlinkOnClose(false)
	e.Must(leftover.Close())
	targets := []string{"unix:" + folder + "/none", "unix:" + dead, "unix:" + good}
	e.start(app(front, targets, keys{"Balance": "round_robin"}), app(front+1, []string{"unix:@shunt-test"}, nil))
	e.Parallel(conns, conns, func(i int) {
		c, b := e.pair(front + i%2)
		e.onItsEngine(e.flowOf(c))
		e.exchange(c, b, mib)
		if i < conns/2 {
			e.finish(c, b)
		} else {
			e.finish(b, c)
		}
		e.ended(c, "done")
	})
	e.Until("both dead ones were found", func() bool { return e.daemon.Count("backend_down") == 2 })
}

func unixListener(e *env) {
	const conns = 8
	e.offWire, e.noBypass = true, true
	e.serveAdmin()
	folder := e.socketFolder()
	in, out := folder+"/new/in", folder+"/out"
	e.listenUnix(out, flow.Hold)
	back := e.listen(e.at(1), flow.Hold).Name
	both := app(front, []string{back}, keys{"Listen": []string{"0.0.0.0", "::", "unix:" + in}, "ListenMode": "0666"})
	only := app(front+1, []string{"unix:" + out}, keys{"Listen": []string{"unix:@shunt-test"}})
	delete(only, "Ports")
	headed := app(front+2, []string{e.listen(e.at(2), flow.Headed(flow.Hold)).Name}, e.accepts(keys{"Send": "v1"}))
	headed["Listen"] = []string{"unix:" + folder + "/headed"}
	delete(headed, "Ports")
	e.start(both, only, headed)
	info, err := os.Stat(in)
	e.Must(err)
	if info.Mode() != os.ModeSocket|0o666 {
		e.Failf("the socket's mode is %v", info.Mode())
	}
	e.Parallel(conns, conns, func(i int) {
		c := e.dialUnix([]string{in, "@shunt-test"}[i%2])
		b := e.meet(c)
		e.exchange(c, b, mib)
		if i < conns/2 {
			e.finish(c, b)
		} else {
			e.finish(b, c)
		}
	})
	c := e.dialUnix(in)
	b := e.meet(c)
	rows := e.shunt("flows", "--why")
	if len(rows) != 1 || rows[0].Client != "unix:" || rows[0].Listener != "unix:"+in {
		e.Failf("the flow is told of as %+v", rows)
	}
	e.onItsEngine(rows[0])
	e.finish(c, b)
	e.Until("records of all", func() bool { return e.daemon.Count("connection") == conns+1 })
	done := e.records(func(r *daemon.Record) bool { return r.Reason == "done" && r.ToBackend == mib+flow.TokenSize })
	if len(done) != conns {
		e.Failf("%d of %d records are right", len(done), conns)
	}
	// Its peer is trusted to say whom it speaks for, whatever TrustedFrom has.
	claim := claims[e.family]
	c = e.dialUnix(folder + "/headed")
	e.Must(c.SendBefore(flow.ProxyV1(claim.From, claim.To)))
	if b = e.meet(c); b.Header != claim {
		e.Failf("the backend was told %+v, not %+v", b.Header, claim)
	}
	e.finish(c, b)
	// One that has gone after its last word, before anybody has read it.
	gone := e.dialUnix(in)
	token, err := gone.SendToken()
	e.Must(err)
	e.Must(gone.Close())
	b, err = e.hub.Take(token)
	e.Must(err)
	e.Must(b.RecvToEOF(flow.Steady))
	e.Must(flow.Match(gone, b))
	e.Must(b.Close())
}

// unixBroken ends connections by what a unix socket has in place of a RST, and by one.
func unixBroken(e *env) {
	e.offWire, e.noBypass = true, true
	folder := e.socketFolder()
	path := folder + "/app"
	e.listenUnix(path, flow.Hold)
	e.start(app(front, []string{"unix:" + path}, nil))
	c, b := e.pair(front)
	e.Must(c.Send(1000, flow.Steady))
	e.Must(b.Recv(1, flow.Steady))
	e.Must(b.Close())
	e.Must(c.RecvReset())
	e.ended(c, "backend_reset")

	c, b = e.pair(front)
	e.Must(b.Send(1000, flow.Steady))
	e.Must(c.Recv(1, flow.Steady))
	e.Must(c.Reset())
	if err := b.RecvToEOF(flow.Steady); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		e.Must(err)
	}
	e.ended(c, "client_reset")
}

// unixPlace follows the socket's name through starts, reloads and stops.
func unixPlace(e *env) {
	e.offWire, e.noBypass = true, true
	e.serveAdmin()
	folder := e.socketFolder()
	path, other, third := folder+"/app", folder+"/other", folder+"/third"
	back := e.listen(e.at(1), flow.Hold).Name
	at := func(mode string, paths ...string) keys {
		a := app(front, []string{back}, keys{"Listen": paths, "ListenMode": mode})
		delete(a, "Ports")
		return a
	}
	leftover, err := e.lab.Proxy.ListenUnix(path)
	e.Must(err)
	leftover.SetUnlinkOnClose(false)
	e.Must(leftover.Close())
	e.Must(os.Chmod(path, 0o777)) // the daemon may be nobody's
	e.start(at("0666", "unix:"+path, "unix:"+other))
	c := e.dialUnix(path)
	b := e.meet(c)

	busy := e.listenUnix(third, flow.Hold)
	e.Must(os.Chmod(third, 0o777))
	e.refusedReload([]string{third, "another daemon answers there"}, at("0666", "unix:"+path, "unix:"+third))
	e.Must(os.WriteFile(folder+"/file", nil, 0o600))
	e.refusedReload([]string{"no socket"}, at("0666", "unix:"+path, "unix:"+folder+"/file"))
	busy.Stop() // which removes it, too

	// Who is in the queue while the workers are stopped is served after a reload, of both sockets.
	before, err := os.Stat(path)
	e.Must(err)
	e.daemon.Signal(syscall.SIGSTOP)
	e.Defer(func() { e.signal(syscall.SIGCONT) })
	queued, leaves := e.dialUnix(path), e.dialUnix(other)
	e.signal(syscall.SIGCONT)
	e.reload(at("0600", "unix:"+path, "unix:"+third))
	for _, q := range []*flow.Conn{queued, leaves, e.dialUnix(third), c} {
		qb := b
		if q != c {
			qb = e.meet(q)
		}
		e.exchange(q, qb, mib)
		e.finish(q, qb)
	}
	after, err := os.Stat(path)
	e.Must(err)
	if !os.SameFile(before, after) || after.Mode().Perm() != 0o600 {
		e.Failf("after a reload the socket is another one, or its mode is %v", after.Mode())
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		e.Failf("a socket that a reload has removed is still there: %v", err)
	}
	e.stop()
	for _, gone := range []string{path, third} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			e.Failf("after a stop %s is still there: %v", gone, err)
		}
	}
}
