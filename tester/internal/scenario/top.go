// SPDX-License-Identifier: MIT

package scenario

import (
	"os/exec"
	"strings"
	"unicode/utf8"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/pty"
)

// fits says whether a screen is as high as the terminal and no wider.
func fits(screen []string, width, height int) bool {
	for _, line := range screen {
		if utf8.RuneCountInString(line) > width {
			return false
		}
	}
	return len(screen) == height
}

// liveView watches shunt top through traffic, a resize, and a restart of the daemon.
func liveView(e *env) {
	e.serveAdmin()
	targets := e.backends(1, flow.Echo)
	e.start(app(front, targets, nil))
	top, err := pty.Start(exec.Command(e.Shunt, "top", "--interval", "0.1", "--socket", e.admin), 80, 24)
	e.Must(err)
	e.Defer(top.Close)
	until := func(what string, width, height int, text string) {
		e.Until(what, func() bool {
			screen := top.Screen()
			if top.Exited() {
				e.Failf("shunt top has ended: %q", top.Output())
			}
			return fits(screen, width, height) && strings.Contains(strings.Join(screen, "\n"), text)
		})
	}
	until("the app is shown", 80, 24, "\napp-5000 ")
	e.ask(front, 5000)
	until("the live connection is counted", 80, 24, "Live     1: 1 relaying; room")
	e.Must(top.Resize(60, 12))
	until("the screen has the new size", 60, 12, "\napp-5000 ")
	e.daemon.Kill()
	until("it says that there is no daemon", 60, 12, "\nWaiting: no daemon answers")
	e.start(app(front, targets, nil))
	until("it goes on with the next one", 60, 12, "\nThe daemon has been restarted")
	e.Must(top.Press("q"))
	e.Until("shunt top has ended", top.Exited)
	if top.ExitCode() != 0 || !strings.HasSuffix(top.Output(), "\x1b[?25h\x1b[?1049l") {
		e.Failf("shunt top ended with status %d and %q", top.ExitCode(), top.Output())
	}
	e.Sawf("all of it, at 80x24 and at 60x12")
}
