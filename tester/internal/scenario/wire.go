// SPDX-License-Identifier: MIT

package scenario

import (
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// wireLinger is longer than the entry of an ended flow stays on the wire: two seconds, and as much for a worker that is
// late.
const wireLinger = 4 * time.Second

// served has a new connection carry bytes, and wants it on the wire, or off it for a reason, of which why
// is a part.
func (e *env) served(c *flow.Conn, why string) {
	b := e.meet(c)
	row := e.flowOf(c)
	if why == "" && row.Engine != "wire" {
		e.Failf("promised the wire, it is on %s: %s", row.Engine, row.Why)
	}
	if why != "" && (row.Engine == "wire" || !strings.Contains(row.Why, why)) {
		e.Failf("promised that it is not on the wire, since %q; it is on %s: %s", why, row.Engine, row.Why)
	}
	e.carry(c, b, mib/2, flow.Ragged)
	e.ended(c, "done")
}

// agreements takes away what the ends have by default, with some packets lost, so that it is missed.
func agreements(e *env) {
	const timestamps = "only one end uses TCP timestamps"
	both := e.ends()
	client, backend := both[:1], both[1:]
	e.offWire = true
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.disturb("loss_1_in_100")
	trials := []struct {
		option, value string
		where         []*lab.NS
		why           string
	}{
		{"tcp_timestamps", "0", client, timestamps}, {"tcp_timestamps", "0", backend, timestamps},
		{"tcp_timestamps", "0", both, ""}, {"tcp_ecn", "1", client, "only one end uses ECN"},
		{"tcp_sack", "0", client, ""}, {"tcp_sack", "0", backend, ""}, {"tcp_sack", "0", both, ""},
		{"tcp_window_scaling", "0", client, ""}, {"tcp_window_scaling", "0", backend, ""},
		{"tcp_window_scaling", "0", both, ""},
	}
	for _, t := range trials {
		var undo []func()
		for _, ns := range t.where {
			u, err := ns.Sysctl("net/ipv4/"+t.option, t.value)
			e.Must(err)
			e.Defer(u)
			undo = append(undo, u)
		}
		e.served(e.dial(front), t.why)
		for _, u := range undo {
			u()
		}
	}
	e.Sawf("%d combinations", len(trials))
}

// leftAlone is connections that can't be joined, or must not be.
func leftAlone(e *env) {
	const theOther = 10 // subtracted from a family, it is the other one
	e.engine, e.offWire = "auto", true
	e.serveAdmin()
	good := e.backends(1, flow.Hold)
	here, err := e.hub.Listen(e.lab.Proxy, net.JoinHostPort(lab.Addr(e.family, lab.BackendNet, lab.ProxyHost), "9000"),
		flow.Hold)
	e.Must(err)
	mixed := e.listen(net.JoinHostPort(lab.Addr(theOther-e.family, lab.BackendNet, lab.FirstHost), "9000"), flow.Hold)
	e.start(app(front, good, nil), app(front+1, good, keys{"Wire": false}),
		app(front+2, []string{here.Name}, nil), app(front+3, []string{mixed.Name}, nil))
	if !e.onWire {
		e.judgeTrial("wire")
		e.Skipf("the wire is off")
	}
	e.served(e.dial(front), "")
	e.served(e.dial(front+1), "every flow starts here")
	e.served(e.dial(front+2), "the backend is on this host")
	e.served(e.dial(front+3), "one end speaks IPv4, the other IPv6")
	local, err := e.dialFrom(e.lab.Proxy, "", lab.ClientNet, front)
	e.Must(err)
	e.served(local, "the client is on this host")
	e.Sawf("each served, with its reason")
}

func handshakeBytes(e *env) {
	e.start(app(front, e.backends(1, flow.Hold), nil))
	for i := 0; i < 20; i++ {
		c, b := e.pair(front, lab.SpeakWithLastACK)
		e.carry(c, b, 1000, flow.Steady)
		e.ended(c, "done")
	}
}

// keepAlive lets the ends probe each other through the proxy, which is not to take that for a sign of
// life.
func keepAlive(e *env) {
	const period, timeout = time.Second, 3 * time.Second
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), keys{"IdleTimeout": timeout.String()}))
	c, b := e.pair(front)
	forwarded := func() int64 { return e.shunt("status")[0].Packets.Forwarded }
	e.Must(c.KeepAlive(period))
	before := e.standstill(forwarded)
	e.Until("a probe and its answer pass", func() bool { return forwarded() >= before+2 })
	e.Must(c.RecvReset())
	e.Must(b.RecvReset())
	e.ended(c, "idle_timeout")
	e.Sawf("probes passed, and IdleTimeout all the same")
}

func simultaneousClose(e *env) {
	const conns = 100
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.Parallel(conns, 8, func(int) {
		c, b := e.pair(front)
		ends := []*flow.Conn{c, b}
		e.Parallel(2, 2, func(i int) { e.Must(ends[i].CloseWrite()) })
		e.Parallel(2, 2, func(i int) { e.Must(ends[i].RecvToEOF(flow.Steady)) })
		e.Must(flow.Match(c, b))
		e.ended(c, "done")
	})
	e.Sawf("%d connections", conns)
}

// wraps has a client's first number be just below the last one that there is.
func wraps(e *env) {
	const before, after = mib, 4 * mib
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, b := e.pair(front, lab.FirstSequence(1<<32-before))
	e.carry(c, b, before+after, flow.Ragged)
	e.ended(c, "done")
}

// wrapsByBytes has the backend's numbers, whatever they begin with, pass zero, and the counters 32 bits.
func wrapsByBytes(e *env) {
	const total = 1<<32 + mib
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, b := e.pair(front)
	sent := e.Go(func() {
		e.Must(b.Send(total, flow.Steady))
		e.Must(b.CloseWrite())
	})
	e.Must(c.RecvToEOF(flow.Steady))
	sent()
	e.Must(c.CloseWrite())
	e.Must(b.RecvToEOF(flow.Steady))
	e.Must(flow.Match(c, b))
	e.ended(c, "done")
	e.Sawf("%d bytes", c.Received())
}

// leavesNothing fills the wire's table to the last flow, again and again: an entry that is left behind is
// one that is missing the next time. The last time all end while the daemon is not looking, which is more
// than it can be told of.
func leavesNothing(e *env) {
	const flows, rounds, parallel = 3334, 3, 64
	e.root = keys{"Wire": keys{"Pins": "", "Flows": flows}}
	e.serveAdmin()
	e.start(app(front, e.backends(4, flow.Echo), nil))
	for round := 1; round <= rounds; round++ {
		clients, backends := make([]*flow.Conn, flows), make([]*flow.Conn, flows)
		e.Parallel(flows, parallel, func(i int) { clients[i], backends[i] = e.ask(front, 100) })
		if s := e.shunt("status")[0]; len(s.Engines) != 1 || s.Engines[0].Name != "wire" || s.Engines[0].ToBackend != flows {
			e.Failf("in round %d, with %d flows open, the engines are %+v", round, flows, s.Engines)
		}
		if round < rounds {
			e.Parallel(flows, parallel, func(i int) { e.endOneWay(i, clients[i], backends[i]) })
		} else {
			e.daemon.Signal(syscall.SIGSTOP)
			e.Defer(func() { e.signal(syscall.SIGCONT) })
			e.Parallel(flows, parallel, func(i int) { e.endOneWay(0, clients[i], backends[i]) })
			time.Sleep(500 * time.Millisecond) // for the last FINs
			e.signal(syscall.SIGCONT)
		}
		// So many records at a time are more than the log has room for, or the tester time.
		e.Until("all have ended", func() bool { return e.shunt("status")[0].Sessions == 0 })
		if round < rounds {
			time.Sleep(wireLinger)
		}
	}
	e.Sawf("%d times %d flows, all that the table has room for", rounds, flows)
}

// promoted connects before the daemon is ready, so that the flow misses its beginning, and keeps both
// directions full until it is joined, and after.
func promoted(e *env) {
	const after = 8 * mib
	e.serveAdmin()
	e.launch(e.configure(app(front, e.backends(1, flow.Hold), nil)))
	var c *flow.Conn
	e.Until("the port answers", func() (ok bool) {
		var err error
		c, err = e.tryDial(front, "")
		return err == nil
	})
	b := e.meet(c)
	var joined atomic.Bool
	var before int64
	waits := []func(){}
	for _, end := range []*flow.Conn{c, b} {
		end := end
		waits = append(waits, e.Go(func() {
			for !joined.Load() {
				e.Must(end.Send(mib/4, flow.Ragged))
			}
			e.Must(end.Send(after, flow.Ragged))
			e.Must(end.CloseWrite())
		}), e.Go(func() { e.Must(end.RecvToEOF(flow.Ragged)) }))
	}
	e.awaitReady()
	e.Until("the flow is on the wire", func() bool {
		row := e.flowOf(c)
		if row.Engine != "wire" {
			return false
		}
		if !strings.Contains(row.Why, "in a moment when both were dry") {
			e.Failf("it was no promotion: %s", row.Why)
		}
		before = row.ToBackend + row.ToClient
		return true
	})
	joined.Store(true)
	for _, wait := range waits {
		wait()
	}
	e.Must(flow.Match(c, b))
	e.ended(c, "done")
	e.Sawf("after %.1f MiB, of %.1f MiB", float64(before)/mib, float64(c.Sent()+c.Received())/mib)
}
