// SPDX-License-Identifier: MIT

package scenario

import "shunt/tester/internal/flow"

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
