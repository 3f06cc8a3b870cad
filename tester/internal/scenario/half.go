// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// halves has one end of each connection be in the daemon's cgroup and the other one not, which makes that
// one a stranger: what the first one sends goes around the proxy, and what the other one sends does not.
func halves(e *env) {
	const rounds, each = 10, mib
	e.serveAdmin()
	group, err := e.lab.Cgroup()
	if errors.Is(err, lab.ErrNoCgroups) {
		e.Skipf("%v", err)
	}
	e.Must(err)
	e.root = keys{"Bypass": keys{"Cgroup": group.Path}}

	outside := e.backends(1, flow.Hold)
	var inside []string
	e.Must(group.Within(func() {
		inside = []string{e.listen(e.at(2), flow.Hold).Name}
		e.start(app(front, outside, nil), app(front+1, inside, nil))
	}))
	for _, kind := range []struct {
		port     int
		isInside bool // the client
		up, down string
	}{
		{front, true, bypass, "copy"}, {front + 1, false, "copy", bypass}, {front + 1, true, bypass, bypass}, {front, false, "copy", "copy"},
	} {
		var c, b *flow.Conn
		open := func() { c, b = e.pair(kind.port) }
		if kind.isInside {
			e.Must(group.Within(open))
		} else {
			open()
		}
		e.talk(c, b, 3)
		if row := e.flowOf(c); row.Engine != kind.up || row.Back != kind.down {
			e.Failf("promised %s and %s, it is on %s (%s) and %s", kind.up, kind.down, row.Engine, row.Why, row.Back)
		}
		for i := 0; i < rounds; i++ {
			e.exchange(c, b, each)
			e.talk(c, b, 3)
		}
		e.carry(c, b, each, flow.Ragged)
		e.ended(c, "done")
	}
	if halved := e.shunt("status")[0].Bypass["flows_halved"]; halved != 2 {
		e.Failf("promised 2 connections that are bypassed by half, %d were", halved)
	}
	e.Sawf("a local client, a local backend, both, neither: %d MiB each way", rounds+1)
}
