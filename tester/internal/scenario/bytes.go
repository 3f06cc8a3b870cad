// SPDX-License-Identifier: MIT

package scenario

import (
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
)

const mib = 1 << 20

// exact is the heart of it: everything at once, ragged, and every byte accounted for at both ends
// and in the log.
func exact(e *env) {
	const conns, each = 4, 8 * mib
	e.start(app(front, e.backends(2, flow.Hold), nil))
	engines := make([]string, conns)
	var total atomic.Int64
	e.Parallel(conns, conns, func(i int) {
		c, b := e.pair(front)
		e.carry(c, b, each, flow.Ragged)
		total.Add(c.Sent() + c.Received())
		engines[i] = e.ended(c, "done").Engine
		if e.engine != "auto" && e.engine != bypass && engines[i] != e.engine {
			e.Failf("promised engine %s, the record says %s", e.engine, engines[i])
		}
	})
	e.Sawf("%d bytes, by engine %s", total.Load(), strings.Join(engines, " "))
}

// carry sends n bytes and the end of the stream both ways at once, and compares all that the connection
// has carried.
func (e *env) carry(c, b *flow.Conn, n int64, s flow.Style) {
	ends := []*flow.Conn{c, b}
	e.Parallel(4, 4, func(i int) {
		end := ends[i/2]
		if i%2 == 0 {
			e.Must(end.Send(n, s))
			e.Must(end.CloseWrite())
		} else {
			e.Must(end.RecvToEOF(s))
		}
	})
	e.Must(flow.Match(c, b))
}

// exchange sends n bytes both ways at once.
func (e *env) exchange(c, b *flow.Conn, n int64) {
	up, down := e.Go(func() { e.Must(c.Send(n, flow.Ragged)) }), e.Go(func() { e.Must(b.Send(n, flow.Ragged)) })
	read := e.Go(func() { e.Must(b.Recv(n, flow.Ragged)) })
	e.Must(c.Recv(n, flow.Ragged))
	up()
	down()
	read()
}

// finish ends both streams, the client's first, and compares all that the connection has carried.
func (e *env) finish(c, b *flow.Conn) {
	e.Must(c.CloseWrite())
	e.Must(b.RecvToEOF(flow.Steady))
	e.Must(b.CloseWrite())
	e.Must(c.RecvToEOF(flow.Steady))
	e.Must(flow.Match(c, b))
}

// halfClose ends one direction while the other is full to the brim, then has more sent in the
// other.
func halfClose(e *env) {
	const underWay, after = 8 * mib, mib
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.Parallel(2, 2, func(i int) {
		c, b := e.pair(front)
		first, second := c, b
		if i == 1 {
			first, second = b, c
		}
		wait := e.Go(func() { e.Must(second.Send(underWay, flow.Steady)) })
		read := e.Go(func() { e.Must(second.RecvToEOF(flow.Steady)) })
		e.Must(first.Send(mib, flow.Steady))
		e.Must(first.CloseWrite())
		read() // while the other direction is stuck
		wait2 := e.Go(func() { e.Must(first.RecvToEOF(flow.Ragged)) })
		wait()
		e.Must(second.Send(after, flow.Ragged))
		e.Must(second.CloseWrite())
		wait2()
		e.Must(flow.Match(c, b))
		e.ended(c, "done")
	})
	e.Sawf("%d MiB and the end, against 1 MiB and the end", (underWay+after)/mib)
}

func serverFirst(e *env) {
	e.start(app(front, e.backends(1, flow.Greet), nil))
	for i := 0; i < 20; i++ {
		c := e.dial(front)
		token, err := c.ReadToken()
		e.Must(err)
		b, err := e.hub.Take(token)
		e.Must(err)
		e.Must(c.Send(1000, flow.Steady))
		e.Must(b.Recv(1000, flow.Steady))
		e.Must(b.CloseWrite())
		e.Must(c.RecvToEOF(flow.Steady))
		e.Must(c.Close())
		e.Must(b.RecvToEOF(flow.Steady))
		e.Must(flow.Match(c, b))
	}
	e.Sawf("20 greetings and answers")
}

// resets has each end reset the connection in different states of it; the other end must see
// ECONNRESET and no end of stream.
func resets(e *env) {
	// No more than the buffers in between hold before any of them has grown: a write that blocked would be
	// the one to see the reset.
	const underWay = mib / 16
	arrived := make(chan *flow.Conn, 1)
	e.serveAdmin()
	speechless := e.listen(e.at(2), func(_ *flow.Hub, c *flow.Conn) { arrived <- c })
	e.start(app(front, e.backends(1, flow.Hold), nil), app(front+1, []string{speechless.Name}, nil))
	states := []func(resetting, other *flow.Conn){
		func(_, _ *flow.Conn) {}, // idle
		func(resetting, other *flow.Conn) { // the other one's data under way
			e.Must(other.Send(underWay, flow.Steady))
		},
		func(resetting, other *flow.Conn) { // both ways
			e.Must(other.Send(underWay, flow.Steady))
			e.Must(resetting.Send(underWay, flow.Steady))
		},
		func(resetting, other *flow.Conn) { // the other one has nothing more to say
			e.Must(other.CloseWrite())
			e.Must(resetting.RecvToEOF(flow.Steady))
		},
	}
	for i, reason := range []string{"client_reset", "backend_reset"} {
		for _, enter := range states {
			c, b := e.pair(front)
			ends := []*flow.Conn{c, b}
			enter(ends[i], ends[1-i])
			e.Must(ends[i].Reset())
			e.Must(ends[1-i].RecvReset())
			e.ended(c, reason)
		}
		e.resetAfterEnd(i, reason)
		c := e.dial(front + 1) // before the first byte: a backend may have refused it then, or reset it
		e.Until("the connection reaches the backend", func() bool { return len(arrived) > 0 })
		ends := []*flow.Conn{c, <-arrived}
		e.Must(ends[i].Reset())
		e.Must(ends[1-i].RecvReset())
	}
	e.Sawf("%d resets", 2*(len(states)+2))
}

// resetAfterEnd has an end that has sent all reset the connection while the other one still sends. Who has
// read to the end of a stream is told of a reset when he writes.
func (e *env) resetAfterEnd(i int, reason string) {
	c, b := e.pair(front)
	ends := []*flow.Conn{c, b}
	e.Must(ends[i].CloseWrite())
	e.Must(ends[1-i].RecvToEOF(flow.Steady))
	e.Until("the daemon knows of the half-close", func() bool { return e.flowOf(c).State == "half_closed" })
	e.Must(ends[i].Reset())
	e.Until("a write fails", func() bool { return ends[1-i].Send(1, flow.Steady) != nil })
	e.ended(c, reason)
}

// stoppedDaemon has the daemon stopped by a signal once the kernel has both directions, which shows in
// that bytes still come through. Messages and not bulk: a reader that falls behind is the daemon's.
func stoppedDaemon(e *env) {
	const messages = 300
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, b := e.pair(front)
	e.exchange(c, b, 1000)
	time.Sleep(200 * time.Millisecond) // for the daemon to find the flow quiet, and to hand it over
	for i := 0; i < 2; i++ {
		e.flowOf(c) // the flow's own worker has to answer, after what it was about to do
	}
	e.daemon.Signal(syscall.SIGSTOP)
	e.Defer(func() { e.signal(syscall.SIGCONT) })
	for i := int64(0); i < messages; i++ {
		e.exchange(c, b, i+1)
	}
	e.signal(syscall.SIGCONT)
	e.finish(c, b)
	if r := e.ended(c, "done"); r.Engine != e.engine {
		e.Failf("the record says engine %q", r.Engine)
	}
	e.Sawf("%d messages each way without the daemon, counted all the same", messages)
}

// signal is for a daemon that may be gone by then.
func (e *env) signal(s syscall.Signal) {
	if e.daemon != nil {
		e.daemon.Signal(s)
	}
}

func killedDaemon(e *env) {
	backends := e.backends(2, flow.Echo)
	for i := 0; i < 3; i++ {
		e.start(app(front, backends, nil))
		for k := 0; k < 20; k++ {
			e.ask(front, 10000)
		}
		e.kill()
	}
	e.start(app(front, backends, nil))
	e.visits(front, 20)
	e.Sawf("3 daemons killed with 20 connections each, the 4th serves")
}

// slowReader stops reading at one end, in either direction at once. The bound is the sum of the
// sockets' buffers (lab's sysctls: 2 x 2 MiB to send, 2 x 4 MiB to receive), the daemon's own (a
// pipe of 1 MiB) and some room. On the wire neither the daemon nor its sockets have any part in it.
func slowReader(e *env) {
	const total, grown = 24 * mib, 8 * mib
	e.start(app(front, []string{e.listen(e.at(1), flow.Hold).Name}, nil),
		app(front+1, []string{e.listen(e.at(2), flow.Echo).Name}, nil))
	e.visits(front+1, 4)
	before := e.daemon.RSS()
	heldBack := int64(16 * mib)
	if e.onWire {
		heldBack = 8 * mib // there are only one buffer to send and one to receive
	}
	var stalled, checked atomic.Int32
	e.Parallel(2, 2, func(i int) {
		c, b := e.pair(front)
		sender, reader := c, b
		if i == 1 {
			sender, reader = b, c
		}
		wait := e.Go(func() {
			e.Must(sender.Send(total, flow.Steady))
			e.Must(sender.CloseWrite())
		})
		held := e.standstill(sender.Sent)
		if held > heldBack {
			e.Failf("%s got rid of %d bytes that %s did not read, promised %d at most", sender.Name, held, reader.Name,
				heldBack)
		}
		if queued, err := e.lab.Proxy.Queued(); err != nil || e.onWire && queued > 0 {
			e.Failf("the proxy's own sockets hold %d bytes (%v), promised none on the wire", queued, err)
		}
		stalled.Add(1)
		e.Until("both senders are held back", func() bool { return stalled.Load() == 2 })
		e.visits(front+1, 10)
		if growth := e.daemon.RSS() - before; growth > grown && !e.sanitized {
			e.Failf("the daemon has grown by %d bytes, promised %d at most", growth, grown)
		}
		e.Sawf("%s held back after %.1f MiB", sender.Name, float64(held)/mib)
		checked.Add(1)
		e.Until("the other direction is looked at", func() bool { return checked.Load() == 2 })
		e.Must(reader.RecvToEOF(flow.Ragged))
		wait()
		e.Must(reader.CloseWrite())
		e.Must(sender.RecvToEOF(flow.Steady))
		e.Must(flow.Match(c, b))
	})
}

// standstill waits until a counter has not moved for a while, and returns it.
func (e *env) standstill(counter func() int64) int64 {
	const quiet = 400 * time.Millisecond
	last, since := counter(), time.Now()
	e.Until("it comes to a standstill", func() bool {
		if now := counter(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > quiet
	})
	return last
}

// idlePipes has connections carry bulk one after the other and stay: pipes may be left in a pool,
// but not one each.
func idlePipes(e *env) {
	const few, many, pooled = 4, 40, 16
	e.start(app(front, e.backends(1, flow.Echo), nil))
	pipes := func(conns int) int {
		for i := 0; i < conns; i++ {
			e.ask(front, mib)
		}
		time.Sleep(50 * time.Millisecond) // the last acknowledgement's turn
		return e.daemon.FDs()["pipe"]
	}
	first := pipes(few)
	second := pipes(many)
	if second > first+pooled {
		e.Failf("%d pipe fds with %d idle connections, %d with %d", first, few, second, few+many)
	}
	e.Sawf("%d pipe fds with %d idle connections, %d with %d", first, few, second, few+many)
}
