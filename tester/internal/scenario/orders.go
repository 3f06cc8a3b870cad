// SPDX-License-Identifier: MIT

package scenario

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
)

// order has the daemon do something and returns what the command says.
func (e *env) order(args ...string) string {
	out, err := exec.Command(e.Shunt, append(args, "--socket", e.admin)...).CombinedOutput()
	if err != nil {
		e.Failf("shunt %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// orders drains one daemon and stops another at the admin socket.
func orders(e *env) {
	e.serveAdmin()
	targets := e.backends(1, flow.Echo)
	e.start(app(front, targets, nil))
	if said := e.order("log-level"); said != "The log level is info.\n" {
		e.Failf("shunt log-level says: %s", said)
	}
	e.order("log-level", "warning")
	e.visits(front, 1)
	e.Until("the first connection has ended", func() bool { return e.shunt("status")[0].Sessions == 0 })
	e.order("log-level", "info")
	c, b := e.ask(front, 1000)
	e.order("drain")
	e.Until("new clients are refused", func() bool {
		late, err := e.tryDial(front, "")
		if err == nil { // it came before a worker's listener was closed, and must not be waited for
			e.Must(late.Close())
		}
		return err != nil
	})
	e.Must(c.Ask(1000, flow.Steady))
	e.Must(flow.Match(c, b))
	e.Must(c.Close())
	// The one that came while nothing but warnings was logged left no record.
	e.ended(c, "done")
	d := e.daemon
	e.awaitExit()
	said := d.Records(func(r *daemon.Record) bool { return r.Event == "connection" && r.ToBackend > 0 })
	if len(said) != 1 {
		e.Failf("%d connections are in the log, promised the one that was not below its level", len(said))
	}

	e.start(app(front, targets, nil))
	c, _ = e.ask(front, 1000)
	e.order("stop")
	e.Must(c.RecvReset())
	e.awaitExit()
	e.Sawf("a drain, a stop, and a level that was changed and changed back")
}

// configTold starts a second daemon with what the first one says of its configuration.
func configTold(e *env) {
	e.serveAdmin()
	e.start(app(front, e.backends(2, flow.Echo), keys{"IdleTimeout": "90s", "Balance": "round_robin"}))
	told := e.order("config")
	e.visits(front, 2)
	e.daemon.Signal(syscall.SIGTERM)
	e.awaitExit()
	path := filepath.Join(e.lab.Dir, "told.json")
	e.Must(os.WriteFile(path, []byte(told), 0o644))
	e.startFile(path)
	if again := e.order("config"); again != told {
		e.Failf("the first daemon says\n%s\nand the second, which has read that,\n%s", told, again)
	}
	e.visits(front, 2)
	e.Sawf("%d bytes, the same ones from both", len(told))
}

// rotated moves the daemon's log file away, as whatever rotates logs does.
func rotated(e *env) {
	folder := filepath.Join(e.lab.Dir, "log")
	e.Must(os.MkdirAll(folder, 0o777))
	e.Must(os.Chmod(folder, 0o777)) // the daemon may be nobody's
	e.Defer(func() { os.RemoveAll(folder) })
	log, moved, config := filepath.Join(folder, "log"), filepath.Join(folder, "log.1"), filepath.Join(folder, "config")
	text, err := json.Marshal(keys{"Admin": keys{"Socket": ""}, "Log": keys{"Output": "file", "File": log},
		"Apps": []keys{app(front, e.backends(1, flow.Echo), nil)}})
	e.Must(err)
	e.Must(os.WriteFile(config, text, 0o644))
	d, err := daemon.Start(e.lab.Proxy.Command(0, e.Unprivileged, e.Shunt, "run", "-c", config, "--engine", e.engineOption()))
	e.Must(err)
	e.daemon = d
	e.Defer(d.Kill)
	has := func(path, what string) bool {
		text, _ := os.ReadFile(path) // it may not be there yet
		return strings.Contains(string(text), what)
	}
	e.Until("the daemon is ready", func() bool { return has(log, "notice ready ") })
	e.Must(os.Rename(log, moved))
	e.ask(front, 100)
	d.Signal(syscall.SIGUSR1)
	e.Until("it writes to a new file", func() bool { return has(log, "SIGUSR1") })
	e.hub.Close()
	e.Until("a connection is in the new file", func() bool { return has(log, "reason=done") })
	if has(moved, "reason=done") || has(moved, "SIGUSR1") || !has(moved, "notice ready ") {
		e.Failf("the file that was moved away has the wrong lines")
	}
	e.Sawf("every line in its file")
}
