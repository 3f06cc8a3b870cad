// SPDX-License-Identifier: MIT

package scenario

import (
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
)

// waiting waits until so many connections are in the first app's queue.
func (e *env) waiting(n int) {
	e.Until("the queue is as long as it should be", func() bool { return e.shunt("apps")[0].Queued == n })
}

// waiter is a client in the queue that has spoken already.
type waiter struct {
	*flow.Conn
	token uint64
}

// wait has a client connect to an echo and say n bytes, and wants it to be the nth to wait.
func (e *env) wait(n, bytes int) waiter {
	c := e.dial(front)
	token, err := c.SendToken()
	e.Must(err)
	e.Must(c.Send(int64(bytes), flow.Steady))
	e.waiting(n)
	return waiter{c, token}
}

// answered wants all that a client said in the queue, and some more, echoed, and compares it at both ends.
func (e *env) answered(w waiter) (backend *flow.Conn) {
	e.Must(w.Recv(w.Sent(), flow.Steady))
	e.Must(w.Ask(1000, flow.Steady))
	b, err := e.hub.Take(w.token)
	e.Must(err)
	e.Must(flow.Match(w.Conn, b))
	return b
}

func queueInOrder(e *env) {
	const conns, pause = 8, 2 * time.Second
	e.serveAdmin()
	e.start(app(front, e.backends(2, flow.Echo), keys{"MaxConnections": 1, "MaxQueue": conns + 1, "QueueTimeout": "1m"}))
	first, _ := e.ask(front, 100)
	var waiters []waiter
	for i := 0; i < conns; i++ {
		waiters = append(waiters, e.wait(i+1, 1000*(i+1)))
	}
	if row := e.flowOf(waiters[0].Conn); row.State != "queued" || row.Address != "-" {
		e.Failf("a flow that waits is told of as %+v", row)
	}
	if active := e.shunt("apps")[0].Active; active != 1 {
		e.Failf("%d are active, MaxConnections is 1", active)
	}
	last := e.wait(conns+1, 1000)
	e.Must(last.CloseWrite()) // the request is sent, the answer awaited
	time.Sleep(pause)         // some retransmissions of what is held for the wire
	e.Must(first.Close())
	for i, w := range waiters {
		// Served before its turn it would be an answer that never comes to the one before it.
		e.answered(w)
		e.waiting(conns - i)
		e.Must(w.Close())
		if r := e.ended(w.Conn, "done"); r.QueueMS < float64(pause.Milliseconds()) || r.QueueMS > r.DurationMS {
			e.Failf("one waited for %v and more; of %.0f ms in all, its record has %.0f in the queue", pause,
				r.DurationMS, r.QueueMS)
		}
	}
	if r := e.ended(first, "done"); r.QueueMS != 0 {
		e.Failf("one that did not wait is said to have waited for %.3f ms", r.QueueMS)
	}
	e.Must(last.RecvToEOF(flow.Steady))
	b, err := e.hub.Take(last.token)
	e.Must(err)
	e.Must(flow.Match(last.Conn, b))
	e.ended(last.Conn, "done")
	e.Sawf("%d waited, and were served in their order", conns+1)
}

func queueLeft(e *env) {
	const timeout = 2 * time.Second
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Echo), keys{"MaxConnections": 1, "MaxQueue": 2, "QueueTimeout": timeout.String()}),
		app(front+1, []string{e.at(1)}, keys{"MaxConnections": 1, "MaxQueue": 2, "QueueTimeout": "1m"}))
	held, _ := e.ask(front, 100)
	silent := e.dial(front)
	e.waiting(1)
	spoke := e.wait(2, 10000)
	e.refused(front, "queue_full")
	e.Must(silent.RecvReset())
	e.Must(spoke.RecvReset())
	for _, c := range []*flow.Conn{silent, spoke.Conn} {
		if r := e.ended(c, "queue_timeout"); r.DurationMS < float64(timeout.Milliseconds()) {
			e.Failf("QueueTimeout is %v, it was reset after %.0f ms", timeout, r.DurationMS)
		}
	}
	e.waiting(0)

	silent = e.dial(front)
	e.waiting(1)
	spoke = e.wait(2, 10000)
	e.Must(silent.Reset())
	e.Must(spoke.Reset())
	e.ended(silent, "client_reset")
	e.ended(spoke.Conn, "client_reset")
	e.waiting(0)
	if parked := e.shunt("status")[0].Parked.Bytes; parked > 0 {
		e.Failf("%d bytes of clients that are gone are still kept for the wire", parked)
	}
	last := e.wait(1, 1000)
	e.Must(held.Close())
	e.answered(last)
	e.Sawf("two by the timeout, two by their own RST, and one more was served")
}

func queueAcrossWorkers(e *env) {
	const conns, parallel = 400, 100
	e.serveAdmin()
	e.start(app(front, e.backends(2, flow.Echo), keys{"MaxConnections": 1, "MaxQueue": parallel, "QueueTimeout": "1m"}))
	held, _ := e.ask(front, 100)
	longest := 0
	wait := e.Go(func() {
		e.Parallel(conns, parallel, func(int) {
			c, _ := e.ask(front, 100)
			e.Must(c.Close())
		})
	})
	e.Until("most wait", func() bool {
		longest = e.shunt("apps")[0].Queued
		return longest >= parallel-1
	})
	e.Must(held.Close())
	wait()
	e.waiting(0)
	e.Until("none is active", func() bool { return e.shunt("apps")[0].Active == 0 })
	e.Sawf("%d clients through one place, %d at a time in the queue", conns, longest)
}

// limited is targets with a MaxConnections each.
func limited(most int, addrs ...string) keys {
	var targets []keys
	for _, addr := range addrs {
		targets = append(targets, keys{"Address": addr, "MaxConnections": most})
	}
	return keys{"Targets": targets, "MaxQueue": 10, "QueueTimeout": "1m"}
}

func targetLimit(e *env) {
	const most, waiters = 3, 4
	e.serveAdmin()
	addrs := e.backends(2, flow.Echo)
	e.start(app(front, nil, limited(most, addrs...)), app(front+1, nil, limited(1, e.at(3), addrs[0])))
	at := map[string][]*flow.Conn{}
	for i := 0; i < 2*most; i++ {
		c, b := e.ask(front, 100)
		at[b.Name] = append(at[b.Name], c)
	}
	if len(at[addrs[0]]) != most || len(at[addrs[1]]) != most {
		e.Failf("of %d clients %d and %d are at the targets", 2*most, len(at[addrs[0]]), len(at[addrs[1]]))
	}
	var waiting []waiter
	for i := 0; i < waiters; i++ {
		waiting = append(waiting, e.wait(i+1, 1000))
	}
	for i, w := range waiting {
		addr := addrs[i%2]
		e.Must(at[addr][i/2].Close())
		if b := e.answered(w); b.Name != addr {
			e.Failf("there was room at %s, it is at %s", addr, b.Name)
		}
		e.waiting(waiters - 1 - i)
	}
	for _, row := range e.shunt("backends", "--app", "app-5000") {
		if row.Active != most {
			e.Failf("%d are at a target, promised %d", row.Active, most)
		}
	}

	// One target is dead and the other full: that is no reason to give up.
	held, _ := e.ask(front+1, 100)
	c := e.dial(front + 1)
	token, err := c.SendToken()
	e.Must(err)
	e.Until("it waits", func() bool { return e.shunt("apps")[1].Queued == 1 })
	e.Must(held.Close())
	e.answered(waiter{c, token})
	e.Sawf("%d at each of two targets, %d more as places came free", most, waiters)
}

func reloadOfLimits(e *env) {
	e.serveAdmin()
	addrs := e.backends(2, flow.Echo)
	of := func(limit int, targets keys) keys {
		options := keys{"MaxConnections": limit}
		for key, value := range targets {
			options[key] = value
		}
		return app(front, nil, options)
	}
	e.start(of(1, limited(0, addrs[0])))
	first, _ := e.ask(front, 100)
	waiters := []waiter{e.wait(1, 1000), e.wait(2, 1000), e.wait(3, 1000)}
	e.reload(of(2, limited(0, addrs[0])))
	e.answered(waiters[0])
	e.waiting(2)
	// No place in the app now that it may have two, then none at the target that may have two.
	e.reload(of(0, limited(2, addrs[0])))
	e.waiting(2)
	e.reload(of(0, limited(2, addrs...)))
	for _, w := range waiters[1:] {
		if b := e.answered(w); b.Name != addrs[1] {
			e.Failf("it was served by %s, which is full", b.Name)
		}
	}
	e.waiting(0)
	// A lower limit closes nobody.
	e.reload(of(1, limited(1, addrs...)))
	e.wait(1, 1000)
	e.Must(first.Ask(1000, flow.Steady))
	e.Must(first.Echoed())
	for _, w := range waiters {
		e.Must(w.Ask(1000, flow.Steady))
		e.Must(w.Echoed())
	}
	e.Sawf("one by a higher limit, two by another target")
}

// onePlace is an app in which two may wait.
func onePlace(target string, options keys) keys {
	a := app(front, []string{target}, keys{"MaxConnections": 1, "MaxQueue": 2, "QueueTimeout": "1m"})
	for key, value := range options {
		a[key] = value
	}
	return a
}

// reloadOfAListener has a client wait who came by a socket that stays in the next configuration, and one who
// came by a socket that goes.
func reloadOfAListener(e *env) {
	e.offWire = true
	e.serveAdmin()
	in, target := e.socketFolder()+"/in", e.backends(1, flow.Echo)[0]
	with := keys{"Listen": []string{"unix:" + in, "0.0.0.0", "::"}}
	e.start(onePlace(target, nil))
	for i, next := range []keys{{"Listen": with["Listen"], "IdleTimeout": "5m"}, nil} {
		e.reload(onePlace(target, with))
		held, _ := e.ask(front, 100)
		c := e.dialUnix(in)
		token, err := c.SendToken()
		e.Must(err)
		e.waiting(1)
		e.reload(onePlace(target, next))
		for _, row := range e.shunt("flows") {
			if row.State == "queued" && row.Listener != "unix:"+in {
				e.Failf("a flow that waits is told of as %+v", row)
			}
		}
		e.Must(held.Close())
		e.answered(waiter{c, token})
		e.Must(c.Close())
		ofIt := func(r *daemon.Record) bool { return r.Listener == "unix:"+in && r.Reason == "done" }
		e.Until("its record names the socket that it came by", func() bool { return len(e.records(ofIt)) == i+1 })
	}
}

// reloadOfTheBeginning has clients wait while the app begins to send headers.
func reloadOfTheBeginning(e *env) {
	e.offWire = true // what has begun with a header is not on it from the first byte on
	e.serveAdmin()
	plain, headed := e.listen(e.at(1), flow.Echo).Name, e.listen(e.at(2), flow.Headed(flow.Echo)).Name
	e.start(onePlace(plain, nil))
	held, _ := e.ask(front, 100)
	waiters := []waiter{e.wait(1, 10000), e.wait(2, 10000)}
	e.reload(onePlace(headed, keys{"ProxyProtocol": keys{"Send": "v2"}}))
	e.Must(held.Close())
	for _, w := range waiters {
		if b := e.answered(w); b.Header.From != w.Local() || b.Header.To != w.Remote() {
			e.Failf("the backend was told %+v of the client from %s", b.Header, w.Local())
		}
		e.Must(w.Close())
		e.ended(w.Conn, "done")
	}
}
