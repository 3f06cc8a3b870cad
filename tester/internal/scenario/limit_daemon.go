// SPDX-License-Identifier: MIT

package scenario

import (
	"time"

	"shunt/tester/internal/flow"
)

func daemonLimit(e *env) {
	const most, higher, conns, ticksMax = 5, 8, 60, 30
	e.serveAdmin()
	e.root = keys{"MaxConnections": most}
	apps := []keys{app(front, e.backends(2, flow.Echo), nil)}
	e.start(apps...)
	release := make(chan struct{}, conns)
	served := make(chan struct{}, conns)
	wait := e.Go(func() {
		e.Parallel(conns, conns, func(int) {
			c, _ := e.ask(front, 1000)
			served <- struct{}{}
			<-release
			e.Must(c.Close())
		})
	})
	servedNow := func() int64 { return int64(len(served)) }
	e.Until("as many as may are served", func() bool { return servedNow() == most })
	before := e.daemon.CPUTicks()
	time.Sleep(time.Second)
	ticks := e.daemon.CPUTicks() - before
	if n := servedNow(); n != most || e.shunt("status")[0].Sessions != most {
		e.Failf("MaxConnections is %d, %d were served", most, n)
	}
	if ticks > ticksMax {
		e.Failf("with %d clients waiting, the daemon used %d ticks of 10 ms in a second", conns-most, ticks)
	}
	release <- struct{}{}
	e.Until("one that goes makes room for one", func() bool { return servedNow() == most+1 })
	e.root = keys{"MaxConnections": higher}
	e.reload(apps...)
	e.Until("a higher limit makes room for more", func() bool { return servedNow() == higher+1 })
	for i := 1; i < conns; i++ {
		release <- struct{}{}
	}
	wait()
	e.Sawf("%d served, %d ticks of CPU in a second, then %d and the others", most, ticks, higher)
}
