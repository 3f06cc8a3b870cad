// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"strings"

	"shunt/tester/internal/flow"
)

// backlogOf wants each of a port's listening sockets to have this backlog, which ss shows as Send-Q.
func (e *env) backlogOf(port, want int) {
	out, err := e.lab.Proxy.Command(0, false, "ss", "-Hltn", fmt.Sprintf("sport = :%d", port)).Output()
	e.Must(err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 2 {
		e.Failf("promised a socket for each of 2 workers, ss shows\n%s", out)
	}
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) < 3 || fields[2] != fmt.Sprint(want) {
			e.Failf("promised a backlog of %d, ss shows\n%s", want, out)
		}
	}
}

func backlogs(e *env) {
	const was, now = 7, 200
	e.serveAdmin()
	backends := e.backends(1, flow.Echo)
	e.start(app(front, backends, keys{"Backlog": was}), app(front+1, backends, keys{"Backlog": was}))
	e.backlogOf(front, was)
	held, _ := e.ask(front, 100)
	e.reload(app(front, backends, keys{"Backlog": now}), app(front+1, backends, keys{"Backlog": was}))
	e.backlogOf(front, now)
	e.backlogOf(front+1, was)
	e.Must(held.Ask(100, flow.Steady))
	e.ask(front, 100)
	e.Sawf("%d, and %d after a reload", was, now)
}
