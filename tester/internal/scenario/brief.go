// SPDX-License-Identifier: MIT

package scenario

import (
	"strings"
	"sync/atomic"

	"shunt/tester/internal/flow"
)

// brief has many connections come and go while one lasts, and then none.
func brief(e *env) {
	const crowd, atATime = 64, 16
	e.engine, e.offWire = "auto", true
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Echo), nil))
	var enough atomic.Bool
	wait := e.Go(func() {
		for !enough.Load() {
			e.Parallel(crowd, atATime, func(int) {
				c, _ := e.ask(front, 100)
				e.Must(c.Close())
			})
		}
	})
	var c, b *flow.Conn
	e.Until("a connection begins off the wire", func() bool {
		c, b = e.ask(front, 100)
		if strings.Contains(e.flowOf(c).Why, "over after a few messages") {
			return true
		}
		e.Must(c.Close())
		return false
	})
	asked := 0
	e.Until("it is on the wire, since it goes on", func() bool {
		e.Must(c.Ask(100, flow.Steady))
		asked++
		return e.flowOf(c).Engine == "wire"
	})
	enough.Store(true)
	wait()
	e.Must(c.Ask(mib/2, flow.Ragged))
	e.Must(flow.Match(c, b))
	e.Must(c.Close())
	e.Until("all begin on the wire again", func() bool {
		c, _ := e.ask(front, 100)
		defer c.Close()
		return strings.Contains(e.flowOf(c).Why, "joined before the first byte")
	})
	e.Sawf("off the wire at first, on it after %d messages", asked)
}
