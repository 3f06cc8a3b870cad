// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
)

// needFDs raises the limit as far as it goes, and ends the trial if that is not far enough.
func (e *env) needFDs(n uint64) {
	var limit syscall.Rlimit
	e.Must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < n {
		e.Skipf("%d file descriptors are needed, %d allowed", n, limit.Cur)
	}
}

func fiveThousand(e *env) {
	const conns, parallel = 5000, 64
	e.needFDs(3 * conns)
	e.start(app(front, e.backends(4, flow.Echo), nil))
	clients, backends := make([]*flow.Conn, conns), make([]*flow.Conn, conns)
	e.Parallel(conns, parallel, func(i int) { clients[i], backends[i] = e.ask(front, 56) })
	e.Parallel(conns, parallel, func(i int) {
		e.Must(clients[i].Ask(500, flow.Steady))
		e.Must(flow.Match(clients[i], backends[i]))
	})
	sockets := e.daemon.FDs()["socket"]
	if sockets < 2*conns {
		e.Failf("the daemon holds %d sockets only", sockets)
	}
	e.Parallel(conns, parallel, func(i int) { e.Must(clients[i].Close()) })
	e.Sawf("the daemon held %d sockets", sockets)
}

// churn ends connections in turn by FIN from the client, by half-close and the echo's end, and by
// RST.
func churn(e *env) {
	const conns, parallel = 2000, 32
	e.start(app(front, e.backends(2, flow.Echo), nil))
	before := e.daemon.FDs()["socket"]
	e.Parallel(conns, parallel, func(i int) {
		c, b := e.ask(front, 500)
		e.endOneWay(i, c, b)
	})
	e.Until("the daemon has as many sockets as before", func() bool {
		return e.daemon.FDs()["socket"] == before
	})
	e.Sawf("%d sockets before and after", before)
}

// endOneWay ends a connection to an echo in one of three ways.
func (e *env) endOneWay(i int, c, b *flow.Conn) {
	switch i % 3 {
	case 0:
		e.Must(c.Close())
	case 1:
		e.Must(c.CloseWrite())
		e.Must(c.RecvToEOF(flow.Steady))
		e.Must(flow.Match(c, b))
		e.Must(c.Close())
	case 2:
		e.Must(c.Reset())
	}
}

func tooMany(e *env) {
	const most = 5
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Echo), keys{"MaxConnections": most}))
	var held []*flow.Conn
	for i := 0; i < most; i++ {
		c, _ := e.ask(front, 100)
		held = append(held, c)
	}
	for i := 0; i < 3; i++ {
		e.refused(front, "max_connections")
	}
	for _, c := range held {
		e.Must(c.Ask(100, flow.Steady))
		e.Must(c.Echoed())
	}
	e.Must(held[0].Close())
	e.ended(held[0], "done")
	// The record is written before the place is given back.
	e.Until("there is room again", func() bool { return e.shunt("apps")[0].Active == most-1 })
	e.ask(front, 100)
	e.Sawf("%d connections work, 3 more refused, 1 let in for 1 that went", most)
}

func idleTimeout(e *env) {
	const timeout = time.Second
	e.start(app(front, e.backends(1, flow.Hold), keys{"IdleTimeout": timeout.String()}))
	busy, busyBackend := e.pair(front)
	idle, idleBackend := e.pair(front)
	var ended bool
	wait := e.Go(func() {
		for _, end := range []*flow.Conn{idle, idleBackend} {
			if e.onWire { // where nobody can send a FIN for another one
				e.Must(end.RecvReset())
			} else {
				e.Must(end.RecvToEOF(flow.Steady))
			}
		}
		e.ended(idle, "idle_timeout")
	})
	start := time.Now()
	e.Until("the idle connection has ended, and the busy one is twice as old as the timeout", func() bool {
		e.Must(busy.Send(1, flow.Steady))
		e.Must(busyBackend.Recv(1, flow.Steady))
		time.Sleep(timeout / 20)
		if !ended && time.Since(start) > 2*timeout {
			wait()
			ended = true
		}
		return ended
	})
	e.Must(busy.CloseWrite())
	e.Must(busyBackend.RecvToEOF(flow.Steady))
	e.Must(flow.Match(busy, busyBackend))
}

func halfCloseTimeout(e *env) {
	e.noBypass = true // a token goes through the proxy, and nothing comes after it
	e.start(app(front, e.backends(1, flow.Hold), keys{"HalfCloseTimeout": "300ms"}))
	for i := 0; i < 2; i++ {
		ends, other := e.pair(front)
		c := ends
		if i == 1 {
			ends, other = other, ends
		}
		e.Must(ends.CloseWrite())
		e.Must(other.RecvToEOF(flow.Steady))
		e.Must(ends.RecvReset())
		e.Until("the other end is reset, too", func() bool { return other.Send(1, flow.Steady) != nil })
		e.ended(c, "half_close_timeout")
	}
	e.Sawf("both ends reset, whichever ended first")
}

func outOfFDs(e *env) {
	const clients, ticksMax = 400, 30
	e.fdLimit = 256
	e.start(app(front, e.backends(1, flow.Echo), nil))
	release := make(chan struct{})
	served := make(chan struct{}, clients)
	wait := e.Go(func() {
		e.Parallel(clients, clients, func(int) {
			c, _ := e.ask(front, 100)
			served <- struct{}{}
			<-release
			e.Must(c.Close())
		})
	})
	e.Until("some are served", func() bool { return len(served) > 0 })
	first := e.standstill(func() int64 { return int64(len(served)) })
	if first == clients {
		e.Failf("all %d clients were served at once: the limit did not bind", clients)
	}
	before := e.daemon.CPUTicks()
	time.Sleep(time.Second)
	ticks := e.daemon.CPUTicks() - before
	if ticks > ticksMax {
		e.Failf("with %d clients waiting, the daemon used %d ticks of 10 ms in a second", clients-first, ticks)
	}
	close(release)
	wait()
	e.Sawf("%d served, then %d ticks of CPU in a second, then the others", first, ticks)
}

func stopDrains(e *env) {
	const each = 4 * mib
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, b := e.pair(front)
	quiet, quietBackend := e.pair(front)
	halfway := make(chan struct{})
	send := func(from, to *flow.Conn) func() {
		sent := e.Go(func() {
			e.Must(from.Send(each, flow.Ragged))
			<-halfway
			e.Must(from.Send(each, flow.Ragged))
			e.Must(from.CloseWrite())
		})
		received := e.Go(func() { e.Must(to.RecvToEOF(flow.Ragged)) })
		return func() { sent(); received() }
	}
	up, down := send(c, b), send(b, c)
	e.daemon.Signal(syscall.SIGTERM)
	e.refusing(front)
	close(halfway)
	up()
	down()
	e.Must(flow.Match(c, b))
	if e.daemon.Exited() {
		e.Failf("the daemon did not wait for the connection that is still open")
	}
	e.finish(quiet, quietBackend)
	e.awaitExit()
}

// lastACK is time for the end of a client's handshake to arrive, which its connect(2) does not wait for.
const lastACK = 100 * time.Millisecond

// queuedAtStop has clients connect, and speak, while the daemon is not looking, and tells it to stop
// before it looks again: to these clients they are connected.
func queuedAtStop(e *env) {
	const conns = 400 // more than the daemon accepts in one go
	e.start(app(front, e.backends(1, flow.Echo), nil))
	e.daemon.Signal(syscall.SIGSTOP)
	clients := make([]*flow.Conn, conns)
	for i := range clients {
		clients[i] = e.dial(front)
	}
	time.Sleep(lastACK)
	e.daemon.Signal(syscall.SIGTERM)
	e.daemon.Signal(syscall.SIGCONT)
	for _, c := range clients {
		e.Must(c.Ask(1000, flow.Steady))
		e.Must(c.Close())
	}
	e.awaitExit()
	e.Sawf("%d connections from the queue were served after SIGTERM", conns)
}

// refusing waits until new connections to a port are refused.
func (e *env) refusing(port int) {
	e.Until("new connections are refused", func() bool {
		c, err := e.tryDial(port, "")
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
			e.Failf("promised a refusal, saw: %w", err)
		}
		if err == nil {
			e.Must(c.Close())
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

func secondStop(e *env) {
	backends := e.backends(1, flow.Hold)
	for _, signals := range [][]syscall.Signal{{syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGINT}} {
		e.start(app(front, backends, nil))
		c, b := e.pair(front)
		for i, s := range signals {
			if i > 0 {
				e.refusing(front)
			}
			e.daemon.Signal(s)
		}
		e.Must(c.RecvReset())
		e.Must(b.RecvReset())
		e.awaitExit()
	}
}
