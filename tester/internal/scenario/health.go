// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/dns"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// checkPort is where targets answer checks, so that they can be told from clients.
const checkPort = back + 1

const ping, pong, loading = "PING\r\n", "+PONG\r\n", "-LOADING\r\n"

// checkup is a target's answer to checks.
type checkup struct {
	*flow.Backend
	seen    atomic.Int64 // checks so far
	healthy atomic.Value // func(n int64) bool: the answer to check number n is the right one
}

// heal has checks answered right from now on, or wrong.
func (c *checkup) heal(healthy bool) { c.answer(func(int64) bool { return healthy }) }

func (c *checkup) answer(healthy func(n int64) bool) { c.healthy.Store(healthy) }

// checkup answers the checks of backend n, right at first.
func (e *env) checkup(n int) *checkup {
	c := &checkup{}
	c.heal(true)
	c.Backend = e.listen(e.backendAt(n, checkPort), func(_ *flow.Hub, conn *flow.Conn) {
		defer conn.Close()
		var asked [len(ping)]byte
		if _, err := io.ReadFull(conn, asked[:]); err != nil || string(asked[:]) != ping {
			return
		}
		if c.healthy.Load().(func(int64) bool)(c.seen.Add(1)) {
			_, _ = conn.Write([]byte(pong[:3])) // the end shows in the daemon's opinion
			_, _ = conn.Write([]byte(pong[3:]))
			_, _ = io.Copy(io.Discard, conn)
		} else {
			_, _ = conn.Write([]byte(loading))
		}
	})
	return c
}

// checked is the options of an app whose targets have a checkup.
func checked(options keys) keys {
	with := keys{"Balance": "round_robin", "HealthCheck": keys{"Interval": "50ms", "Timeout": "1s", "Port": checkPort,
		"Send": ping, "Expect": pong[:5]}}
	for key, value := range options {
		with[key] = value
	}
	return with
}

// found waits for the n-th event that a check has found a target down, or up.
func (e *env) found(event, target string, n int) {
	e.Until(fmt.Sprintf("%s of %s, number %d", event, target, n), func() bool { return e.events(event, target) >= n })
}

func (e *env) events(event, target string) int {
	return len(e.daemon.Records(func(r *daemon.Record) bool {
		return r.Event == event && r.Target == target && r.By == "check"
	}))
}

// wrongAnswer is a target that takes every connection and is not fit to serve.
func wrongAnswer(e *env) {
	targets := e.backends(2, flow.Echo)
	e.checkup(1)
	sick := e.checkup(2)
	e.start(app(front, targets, checked(nil)))
	if n := e.visits(front, 10)[targets[1]]; n != 5 {
		e.Failf("before: %d of 10 connections", n)
	}
	sick.heal(false)
	e.found("backend_down", targets[1], 1)
	if n := e.visits(front, 10)[targets[0]]; n != 10 {
		e.Failf("while it answers wrong, the other target got %d of 10 connections", n)
	}
	sick.heal(true)
	e.found("backend_up", targets[1], 1)
	if n := e.visits(front, 10)[targets[1]]; n != 5 {
		e.Failf("after: %d of 10 connections", n)
	}
	e.Sawf("passed over after a wrong answer, back after right ones; %d checks", sick.seen.Load())
}

// foundBeforehand has the checks meet what no client is to meet.
func foundBeforehand(e *env) {
	good := e.listen(e.at(1), flow.Echo).Name
	e.start(app(front, []string{e.blackHole(), good}, keys{"Balance": "round_robin",
		"HealthCheck": keys{"Interval": "100ms", "Timeout": "200ms"}}))
	e.found("backend_down", e.blackHole(), 1)
	e.visits(front, 20)
	e.Until("20 records", func() bool { return e.daemon.Count("connection") == 20 })
	if met := e.records(func(r *daemon.Record) bool { return r.Attempts > 1 }); len(met) > 0 {
		e.Failf("%d of 20 connections met the black hole", len(met))
	}
	e.Sawf("20 connections, none met it")
}

// riseAndFall is counted by the target, which answers right or wrong by number.
func riseAndFall(e *env) {
	const checks = 20
	targets := e.backends(1, flow.Echo)
	c := e.checkup(1)
	options := checked(nil)
	health := options["HealthCheck"].(keys)
	health["Interval"], health["Rise"], health["Fall"] = "20ms", 2, 3
	after := func(what string) {
		from := c.seen.Load()
		e.Until(fmt.Sprintf("%d checks of which %s", checks, what), func() bool { return c.seen.Load() >= from+checks })
	}
	never := func(event string, n int) {
		if got := e.events(event, targets[0]); got != n {
			e.Failf("%d events %s, promised %d", got, event, n)
		}
	}
	e.start(app(front, targets, options))
	e.Until("the first check", func() bool { return c.seen.Load() > 0 })
	c.answer(func(n int64) bool { return n%3 == 0 })
	after("two in a row fail, Fall being three")
	never("backend_down", 0)
	c.heal(false)
	e.found("backend_down", targets[0], 1)
	c.answer(func(n int64) bool { return n%2 == 0 })
	after("every other one passes, Rise being two")
	never("backend_up", 0)
	never("backend_down", 1)
	c.heal(true)
	e.found("backend_up", targets[0], 1)
	e.Sawf("%d checks", c.seen.Load())
}

// slowStart counts the connections of a target that has come back, at once and when it is through.
func slowStart(e *env) {
	const visits, length = 60, 6 * time.Second
	targets := e.backends(2, flow.Echo)
	e.checkup(1)
	c := e.checkup(2)
	e.start(app(front, targets, checked(keys{"SlowStart": length.String()})))
	c.heal(false)
	e.found("backend_down", targets[1], 1)
	c.heal(true)
	e.found("backend_up", targets[1], 1)
	back := time.Now()
	early := e.visits(front, visits)[targets[1]]
	time.Sleep(time.Until(back.Add(length)))
	late := e.visits(front, visits)[targets[1]]
	if late != visits/2 || early >= late {
		e.Failf("of %d connections it got %d at first and %d in the end", visits, early, late)
	}
	e.Sawf("%d of %d connections at first, %d in the end", early, visits, late)
}

// onDown has two apps whose target is found down by checks while their connections are in order, and one
// whose target is found down by a connection.
func onDown(e *env) {
	target, unchecked := e.listen(e.at(1), flow.Hold).Name, e.listen(e.at(2), flow.Hold)
	c := e.checkup(1)
	closing, keeping, passive := front, front+1, front+2
	e.start(app(closing, []string{target}, checked(keys{"OnDown": "close"})), app(keeping, []string{target}, checked(nil)),
		app(passive, []string{unchecked.Name}, keys{"OnDown": "close"}))
	cut, cutBackend := e.pair(closing)
	kept, keptBackend := e.pair(keeping)
	e.bothWays(cut, cutBackend, false)
	e.bothWays(kept, keptBackend, false)
	c.heal(false)
	e.Must(cut.RecvReset())
	e.Must(cutBackend.RecvReset())
	e.ended(cut, "backend_down")
	e.found("backend_down", target, 2) // of both apps
	e.bothWays(kept, keptBackend, true)
	e.ended(kept, "done")

	cut, cutBackend = e.pair(passive)
	e.bothWays(cut, cutBackend, false)
	unchecked.Stop()
	e.refused(passive, "no_backend")
	e.Must(cut.RecvReset())
	e.Must(cutBackend.RecvReset())
	e.ended(cut, "backend_down")
	e.Sawf("reset at both ends, by checks and without; and one that went on")
}

// ordersReachAdopted gives orders about targets of connections that only the kernel and a dead daemon have
// known.
func ordersReachAdopted(e *env) {
	e.serveAdmin()
	e.withPins()
	targets := []string{e.listen(e.at(1), flow.Hold).Name, e.listen(e.at(2), flow.Hold).Name}
	both := []keys{app(front, targets[:1], nil), app(front+1, targets[1:], nil)}
	e.start(both...)
	goes, goesBackend := e.pair(front)
	stays, staysBackend := e.pair(front + 1)
	e.bothWays(goes, goesBackend, false)
	e.bothWays(stays, staysBackend, false)
	e.kill()
	e.start(both...)
	e.adopted(2)
	e.shunt("backends", "drain", "app-5001", targets[1])
	e.shunt("backends", "disable", "app-5000", targets[0])
	e.Must(goes.RecvReset())
	e.Must(goesBackend.RecvReset())
	e.endedAdopted(goes, "backend_disabled")
	e.bothWays(stays, staysBackend, true)
	e.endedAdopted(stays, "done")
	e.Sawf("one disabled, one drained")
}

// handOrders takes targets out of service and back, and has a reload change nothing about it.
func handOrders(e *env) {
	e.serveAdmin()
	targets := []string{e.listen(e.at(1), flow.Hold).Name, e.listen(e.at(2), flow.Hold).Name}
	weighted := func(weight int) keys {
		return app(front, nil, keys{"Balance": "round_robin",
			"Targets": []keys{{"Address": targets[0], "Weight": weight}, {"Address": targets[1]}}})
	}
	e.start(weighted(1))
	to := func(target string) (c, b *flow.Conn) {
		for c, b = e.pair(front); b.Name != target; c, b = e.pair(front) {
			e.finish(c, b)
		}
		return c, b
	}
	order := func(verb, target string) { e.shunt("backends", verb, "app-5000", target) }
	onlyAt := func(target string) {
		for i := 0; i < 6; i++ {
			c, b := e.pair(front)
			if b.Name != target {
				e.Failf("a new connection reached %s, which is out of service", b.Name)
			}
			e.finish(c, b)
		}
	}

	c, b := to(targets[0])
	e.bothWays(c, b, false)
	order("drain", targets[0])
	onlyAt(targets[1])
	e.reload(weighted(3))
	onlyAt(targets[1])
	e.bothWays(c, b, false)
	if states := e.ordersTold(); states[targets[0]] != "drained" || states[targets[1]] != "enabled" {
		e.Failf("after a drain and a reload the targets are said to be %v", states)
	}
	order("disable", targets[0])
	e.Must(c.RecvReset())
	e.Must(b.RecvReset())
	e.ended(c, "backend_disabled")
	order("disable", targets[1])
	e.refused(front, "no_enabled_backend")
	order("enable", targets[0])
	onlyAt(targets[0])
	e.Sawf("drained, disabled, enabled again, with a reload in between")
}

func (e *env) ordersTold() map[string]string {
	told := make(map[string]string)
	for _, r := range e.shunt("backends") {
		told[r.Target] = r.Order
	}
	return told
}

// checksFollow has checks begin and end with the configuration and with a name's addresses.
func checksFollow(e *env) {
	const name = "moving.shunt.test"
	e.serveAdmin()
	e.backends(2, flow.Echo)
	checks := []*checkup{e.checkup(1), e.checkup(2)}
	host := func(n int) string { return lab.Addr(e.family, lab.BackendNet, lab.FirstHost+n-1) }
	server, err := dns.Serve(e.lab.Proxy, "127.0.0.1:53")
	e.Must(err)
	e.Defer(server.Close)
	server.Set(name, host(1))
	target := []string{fmt.Sprintf("%s:%d", name, back)}
	more := func(n int, what string) {
		from := checks[n].seen.Load()
		e.Until("more checks, "+what, func() bool { return checks[n].seen.Load() >= from+5 })
	}
	quiet := func(n int, what string) {
		last := int64(-1)
		e.Until("no more checks, "+what, func() bool {
			before := last
			last = checks[n].seen.Load()
			time.Sleep(300 * time.Millisecond) // six intervals
			return before == last
		})
	}

	e.start(app(front, target, keys{"HealthCheck": "off"}))
	e.visits(front, 1)
	quiet(0, "as there were none")
	rare := checked(nil)
	rare["HealthCheck"].(keys)["Interval"] = "1h"
	e.reload(app(front, target, rare))
	e.Until("the first check", func() bool { return checks[0].seen.Load() == 1 })
	e.reload(app(front, target, checked(nil)))
	more(0, "after another reload")
	server.Set(name, host(2))
	more(1, "of the new address")
	quiet(0, "of an address that is gone")
	checks[1].heal(false)
	e.found("backend_down", target[0], 1)
	e.reload(app(front, target, keys{"IdleTimeout": "5m"}))
	quiet(1, "after a reload")
	if state := e.shunt("backends")[0].State; state != "up" {
		e.Failf("without checks the target is still %s", state)
	}
	e.Sawf("begun and ended by reloads, and moved with a name")
}

// manyChecks has a connection carry bytes while two thousand targets are checked.
func manyChecks(e *env) {
	const targets, n = 2000, 64 * mib
	e.serveAdmin()
	hold := e.listen(e.at(1), flow.Hold).Name
	var many []string
	for i := 0; i < targets; i++ {
		many = append(many, e.listen(e.backendAt(2, 10000+i), flow.Echo).Name)
	}
	e.start(app(front, []string{hold}, nil), app(front+1, many, keys{"HealthCheck": keys{"Interval": "1s"}}))
	c, b := e.pair(front)
	wait := e.Go(func() { e.carry(c, b, n, flow.Steady) })
	e.Until("every target has been checked, and none failed", func() bool {
		passed := 0
		for _, r := range e.shunt("backends", "--app", fmt.Sprintf("app-%d", front+1)) {
			if len(r.Addresses) == 1 && r.Addresses[0].Check == "passed" && r.Addresses[0].State == "up" {
				passed++
			}
		}
		return passed == targets
	})
	wait()
	if down := e.daemon.Count("backend_down"); down > 0 {
		e.Failf("%d targets were found down", down)
	}
	e.ended(c, "done")
	e.Sawf("%d targets, %d MiB each way", targets, n/mib)
}
