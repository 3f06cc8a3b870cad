// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// from is one of the client's addresses, numbered from 0.
func (e *env) from(n int) string { return lab.Addr(e.family, lab.ClientNet, lab.FirstHost+n) }

// isReset connects from an address, and says whether that was reset; if not the connection stays open.
func (e *env) isReset(from string) bool {
	c, err := e.tryDial(front, from)
	if errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	e.Must(err)
	if _, err := c.SendToken(); err == nil {
		err = c.Recv(flow.TokenSize, flow.Steady)
		if err == nil {
			return false
		}
	}
	return true
}

// refusals is how many connections were closed for a reason, by what the daemon says.
func (e *env) refusals(reason string) int { return e.shunt("status")[0].Closed[reason] }

// toldTogether wants the log to tell of refusals, and not of each: once, and every ten seconds.
func (e *env) toldTogether(reason string) {
	const linesMax = 4
	e.Until("a warning of the refusals", func() bool { return strings.Contains(e.daemon.Tail(), reason) })
	if n := strings.Count(e.daemon.Tail(), reason); n > linesMax {
		e.Failf("promised a warning of all the refusals, the log has %d lines", n)
	}
	if n := len(e.records(func(r *daemon.Record) bool { return r.Reason == reason })); n > 0 {
		e.Failf("%d of the refusals have a record of their own", n)
	}
}

func sourceShare(e *env) {
	const most, tries = 3, 40
	const reason = "max_connections_per_source"
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Echo), keys{"MaxConnectionsPerSource": most}))
	var held []*flow.Conn
	for i := 0; i < most; i++ {
		c, _ := e.askFrom(front, 100, e.from(0))
		held = append(held, c)
	}
	for i := 0; i < tries; i++ {
		if !e.isReset(e.from(0)) {
			e.Failf("one more than %d was served", most)
		}
	}
	if e.family == 4 {
		e.askFrom(front, 100, e.from(1))
	} else if !e.isReset(e.from(1)) { // of the same /64
		e.Failf("two addresses of a /64 count as two sources")
	}
	refused := tries + 1
	if e.family == 4 {
		refused--
	}
	e.Until("each refusal is counted", func() bool { return e.refusals(reason) == refused })
	e.toldTogether(reason)
	e.Must(held[0].Ask(100, flow.Steady))
	e.Must(held[0].Echoed())
	e.Must(held[0].Close())
	e.Until("there is room for one more", func() bool { return !e.isReset(e.from(0)) })
	e.Sawf("%d of one source, %d refused and counted, one more when one had gone", most, refused)
}

func sourceRate(e *env) {
	const burst, perMinute, tries = 5, 60, 20
	const reason = "connection_rate_per_source"
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Echo), keys{"ConnectionRatePerSource": fmt.Sprintf("%d/m", perMinute),
		"ConnectionBurstPerSource": burst}))
	start, served := time.Now(), 0
	// More than the burst can only be served when so much time has passed that the bucket got more.
	atMost := func() int { return burst + 1 + int(time.Since(start).Seconds())*perMinute/60 }
	for i := 0; i < burst; i++ {
		if e.isReset(e.from(0)) {
			e.Failf("connection %d of a burst of %d was refused", i+1, burst)
		}
		served++
	}
	refused := 0
	for i := 0; i < tries; i++ {
		if e.isReset(e.from(0)) {
			refused++
		} else {
			served++
		}
	}
	if served > atMost() || refused == 0 {
		e.Failf("%d were served within %v, %d were refused", served, time.Since(start), refused)
	}
	if e.family == 4 && e.isReset(e.from(1)) {
		e.Failf("another source was refused")
	}
	e.Until("it may connect again", func() bool {
		if e.isReset(e.from(0)) {
			refused++
			return false
		}
		return true
	})
	if n := e.refusals(reason); n != refused {
		e.Failf("%d were refused, %d are counted", refused, n)
	}
	e.toldTogether(reason)
	e.Sawf("%d at once, %d refused, then one more", served, refused)
}
