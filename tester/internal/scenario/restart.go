// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
)

// withPins has the daemons of the trial pin what is on the wire.
func (e *env) withPins() (folder string) {
	path, undo, err := e.lab.MountBPF()
	e.Defer(undo)
	e.Must(err)
	folder = filepath.Join(path, "wire")
	e.root = keys{"Wire": keys{"Pins": folder}}
	return folder
}

// adopted waits until the daemon has so many flows of the ones before it.
func (e *env) adopted(n int) {
	e.Until(fmt.Sprintf("the daemon tells of %d adopted flows", n), func() bool {
		return e.shunt("status")[0].Adopted == n
	})
}

// outlivesKill has connections talk without a pause while a daemon is killed, there is none, and the next
// one comes. The first of them goes quiet then.
func outlivesKill(e *env) {
	const conns, timeout = 500, 5 * time.Second
	e.serveAdmin()
	e.withPins()
	target := app(front, e.backends(4, flow.Echo), keys{"IdleTimeout": timeout.String()})
	e.start(target)
	var clients, backends [conns]*flow.Conn
	e.Parallel(conns, 16, func(i int) { clients[i], backends[i] = e.ask(front, 100) })

	var asked [conns]atomic.Int64
	var quiet [conns]atomic.Bool
	talk := func(i int) {
		for !quiet[i].Load() {
			e.Must(clients[i].Ask(1+rand.Int63n(20000), flow.Steady))
			asked[i].Add(1)
			time.Sleep(time.Millisecond)
		}
	}
	talks := e.Go(func() { e.Parallel(conns, conns, talk) })
	talkOn := func(when string) {
		var before [conns]int64
		for i := range asked {
			before[i] = asked[i].Load()
		}
		for i := range asked {
			e.Until(clients[i].Local()+" goes on "+when, func() bool { return asked[i].Load() >= before[i]+2 })
		}
	}
	talkOn("with the daemon")
	e.kill()
	talkOn("without a daemon")
	e.start(target)
	e.adopted(conns)
	talkOn("with the next daemon")
	quiet[0].Store(true)
	e.visits(front, 10)
	e.endedAdopted(clients[0], "idle_timeout")
	e.Until("its backend's end is reset", func() bool { return backends[0].Send(1, flow.Steady) != nil })
	for i := range quiet {
		quiet[i].Store(true)
	}
	talks()
	e.Must(clients[0].RecvReset())
	e.Parallel(conns-1, conns, func(i int) {
		e.Must(clients[i+1].CloseWrite())
		e.Must(clients[i+1].RecvToEOF(flow.Steady))
		e.Must(flow.Match(clients[i+1], backends[i+1]))
		e.endedAdopted(clients[i+1], "done")
	})
	e.adopted(0)
	e.Sawf("%d flows adopted, %d answers", conns, total(asked[:]))
}

func total(counts []atomic.Int64) (sum int64) {
	for i := range counts {
		sum += counts[i].Load()
	}
	return sum
}

// endedAdopted is ended() for a connection of a daemon before this one.
func (e *env) endedAdopted(c *flow.Conn, reason string) {
	if r := e.ended(c, reason); r.Adopted != "yes" || r.Engine != "wire" {
		e.Failf("the record of %s says adopted %q, engine %q", c.Local(), r.Adopted, r.Engine)
	}
}

// outlivesStop has the daemon leave its flows, the next one drain them, and `shunt wire clear` end what
// the last one leaves.
func outlivesStop(e *env) {
	const conns = 20
	e.serveAdmin()
	folder := e.withPins()
	targets := e.backends(1, flow.Hold)
	var c, b [conns]*flow.Conn
	goOn := func() { e.Parallel(conns, conns, func(i int) { e.exchange(c[i], b[i], 10000) }) }
	leave := func() {
		e.daemon.Signal(syscall.SIGTERM)
		e.awaitExit()
		goOn()
	}
	start := func(atStop string) {
		e.root = keys{"Wire": keys{"Pins": folder, "AtStop": atStop}}
		e.start(app(front, targets, nil))
	}
	devices, err := e.lab.Proxy.Devices()
	e.Must(err)
	start("leave")
	for i := range c {
		c[i], b[i] = e.pair(front)
	}
	goOn()
	leave()

	start("drain")
	e.adopted(conns)
	e.daemon.Signal(syscall.SIGTERM)
	e.refusing(front)
	goOn()
	for i := range c {
		if e.daemon.Exited() {
			e.Failf("the daemon did not wait for the connections that are still open")
		}
		e.finish(c[i], b[i])
		e.endedAdopted(c[i], "done")
	}
	e.awaitExit()
	e.nothingLeft("a drain", folder, devices)

	start("leave")
	for i := range c {
		c[i], b[i] = e.pair(front)
	}
	leave()
	e.clear(folder, devices)
	for i := range c {
		e.Until("the client's packets are nobody's", func() bool { return c[i].Send(1, flow.Steady) != nil })
		e.Until("the backend's packets are nobody's", func() bool { return b[i].Send(1, flow.Steady) != nil })
	}
	e.Sawf("%d flows left and adopted, drained; %d left and cleared", conns, conns)
}

// clear runs `shunt wire clear`.
func (e *env) clear(pins string, devices []string) {
	out, err := e.lab.Proxy.Command(0, false, e.Shunt, "wire", "clear", "--pins", pins).CombinedOutput()
	if err != nil {
		e.Failf("shunt wire clear: %w: %s", err, out)
	}
	e.nothingLeft("shunt wire clear", pins, devices)
}

// nothingLeft wants nothing of the wire to be there any more, after something.
func (e *env) nothingLeft(after, pins string, devices []string) {
	if left, err := os.ReadDir(pins); !os.IsNotExist(err) && len(left) > 0 {
		e.Failf("%s left %d pins", after, len(left))
	}
	now, err := e.lab.Proxy.Devices()
	e.Must(err)
	if strings.Join(now, " ") != strings.Join(devices, " ") {
		e.Failf("before there were the devices %v, after %s there are %v", devices, after, now)
	}
}
