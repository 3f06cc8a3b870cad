// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// talk has both ends say something small in turn, which on a bypassed connection goes around.
func (e *env) talk(c, b *flow.Conn, times int) {
	const message = 700
	for i := 0; i < times; i++ {
		e.Must(c.Send(message, flow.Steady))
		e.Must(b.Recv(message, flow.Steady))
		e.Must(b.Send(message, flow.Steady))
		e.Must(c.Recv(message, flow.Steady))
	}
}

// onBypass wants a connection's next bytes to go around the proxy.
func (e *env) onBypass(c, b *flow.Conn) {
	e.talk(c, b, 2)
	if row := e.flowOf(c); row.Engine != bypass {
		e.Failf("promised that it is bypassed, it is on %s: %s", row.Engine, row.Why)
	}
}

// offBypass wants them to go through it, for a reason of which why is a part.
func (e *env) offBypass(c, b *flow.Conn, why string) {
	e.talk(c, b, 2)
	if row := e.flowOf(c); row.Engine == bypass || !strings.Contains(row.Why, why) {
		e.Failf("promised that it is not bypassed, since %q; it is on %s: %s", why, row.Engine, row.Why)
	}
}

// peers has local ends of every kind: in namespaces of their own, on the proxy's addresses, on its loopback,
// and an IPv4 client with an IPv6 backend or the other way round.
func peers(e *env) {
	const theOther, each = 10, mib // subtracted from a family, it is the other one
	e.serveAdmin()
	loopback := map[int]string{4: "127.0.0.1", 6: "::1"}[e.family]
	inProxy := func(host, port string) string {
		b, err := e.hub.Listen(e.lab.Proxy, net.JoinHostPort(host, port), flow.Hold)
		e.Must(err)
		return b.Name
	}
	here := inProxy(lab.Addr(e.family, lab.BackendNet, lab.ProxyHost), "9000")
	mixed := e.listen(net.JoinHostPort(lab.Addr(theOther-e.family, lab.BackendNet, lab.FirstHost), "9000"), flow.Hold)
	good := e.backends(1, flow.Hold)
	e.start(app(front, good, nil), app(front+1, []string{here}, nil),
		app(front+2, []string{inProxy(loopback, "9001")}, nil), app(front+3, []string{mixed.Name}, nil),
		app(front+4, good, keys{"LocalBypass": false}))
	for port := front; port < front+4; port++ {
		for _, from := range []*lab.NS{e.lab.Client, e.lab.Proxy} {
			c, err := e.dialFrom(from, "", lab.ClientNet, port)
			e.Must(err)
			b := e.meet(c)
			e.onBypass(c, b)
			e.carry(c, b, each, flow.Ragged)
			e.ended(c, "done")
		}
	}
	c, b := e.pair(front + 4)
	e.offBypass(c, b, "every flow starts here")
	e.finish(c, b)
	e.Sawf("8 kinds of pairs, and an app without")
}

// switchedOff has an operator's word change while bytes are under way in both directions.
func switchedOff(e *env) {
	const rounds, each, most = 20, mib, 40
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, b := e.pair(front)
	e.onBypass(c, b)
	var done atomic.Bool
	words := e.Go(func() {
		for i := 0; i < most && !done.Load(); i++ {
			e.order("bypass", []string{"off", "on"}[i%2], "app-5000")
		}
	})
	for i := 0; i < rounds; i++ {
		e.exchange(c, b, each)
	}
	done.Store(true)
	words()
	e.order("bypass", "off", "app-5000")
	e.Until("the workers have heard of it", func() bool { return e.flowOf(c).Engine != bypass })
	e.offBypass(c, b, "switched off")
	later, laterBackend := e.pair(front)
	e.offBypass(later, laterBackend, "switched off")
	e.order("bypass", "on", "app-5000")
	e.Until("the workers have heard of it", func() bool { return !strings.Contains(e.flowOf(c).Why, "switched off") })
	e.onBypass(c, b)
	e.onBypass(later, laterBackend)
	e.finish(c, b)
	e.finish(later, laterBackend)
	e.ended(c, "done")
	e.Sawf("%d MiB each way", rounds)
}

// killedWhileBypassed kills the daemon while its connections' ends send to each other: each end hears of the
// other's end, by FIN or RST, and what it has got before is exact.
func killedWhileBypassed(e *env) {
	const conns = 20
	e.serveAdmin()
	backends := e.backends(1, flow.Hold)
	e.start(app(front, backends, nil))
	ends := make([][2]*flow.Conn, conns)
	for i := range ends {
		c, b := e.pair(front)
		e.onBypass(c, b)
		e.Must(flow.Match(c, b))
		ends[i] = [2]*flow.Conn{c, b}
	}
	e.kill()
	e.Parallel(2*conns, 2*conns, func(i int) {
		end := ends[i/2][i%2]
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			e.Failf("promised the end of a connection whose proxy is gone, %s saw: %v", end.Name, err)
		}
	})
	e.start(app(front, backends, nil))
	c, b := e.pair(front)
	e.onBypass(c, b)
	e.finish(c, b)
	e.Sawf("%d connections ended at both ends, and the next daemon's are bypassed", conns)
}

// begunByReload turns the bypass on, off, and on again by reloads of a daemon that has begun without.
func begunByReload(e *env) {
	e.serveAdmin()
	good := e.backends(1, flow.Hold)
	with, without := app(front, good, nil), app(front, good, keys{"LocalBypass": false})
	e.start(without)
	old, oldBackend := e.pair(front)
	e.offBypass(old, oldBackend, "every flow starts here")
	for i := 0; i < 2; i++ {
		e.reload(with)
		e.Until("the bypass has begun", func() bool {
			c, b := e.pair(front)
			e.talk(c, b, 2)
			engine := e.flowOf(c).Engine
			e.finish(c, b)
			return engine == bypass
		})
		c, b := e.pair(front)
		e.onBypass(c, b)
		e.exchange(c, b, mib)
		e.reload(without)
		e.onBypass(c, b)
		e.finish(c, b)
	}
	e.offBypass(old, oldBackend, "every flow starts here")
	e.finish(old, oldBackend)
	e.Sawf("it began while a connection was under way")
}

// killedWithUnread kills the daemon when each end has bytes that went around and that it has not read. They
// outlive the daemon, and its maps.
func killedWithUnread(e *env) {
	const conns, each = 20, 100_000
	const freed = 200 * time.Millisecond // by when the kernel has mostly freed what was the daemon's
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	ends := make([][2]*flow.Conn, conns)
	for i := range ends {
		c, b := e.pair(front)
		e.onBypass(c, b)
		e.Must(c.Send(each, flow.Steady))
		e.Must(b.Send(each, flow.Steady))
		ends[i] = [2]*flow.Conn{c, b}
	}
	e.kill()
	time.Sleep(freed)
	e.Parallel(2*conns, 2*conns, func(i int) {
		end := ends[i/2][i%2]
		if _, err := io.Copy(io.Discard, end); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			e.Failf("promised the end of a connection whose proxy is gone, %s saw: %v", end.Name, err)
		}
	})
	for _, end := range ends {
		e.Must(flow.Match(end[0], end[1]))
	}
	e.Sawf("%d bytes were read after the daemon's end", 2*conns*each)
}
