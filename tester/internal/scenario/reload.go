// SPDX-License-Identifier: MIT

package scenario

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/dns"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// reload changes the configuration, has the daemon read it, and returns what it says has changed.
func (e *env) reload(apps ...keys) []told {
	e.configure(apps...)
	return e.shunt("reload")
}

// refusedReload changes the configuration to one that the daemon must refuse, with each of these
// words.
func (e *env) refusedReload(words []string, apps ...keys) {
	e.configure(apps...)
	out, err := exec.Command(e.Shunt, "reload", "--socket", e.admin).CombinedOutput()
	if err == nil {
		e.Failf("the daemon took it: %s", out)
	}
	for _, word := range append(words, "nothing has changed") {
		if !strings.Contains(string(out), word) {
			e.Failf("the answer says nothing of %q: %s", word, out)
		}
	}
}

// bothWays sends and compares some bytes on a connection whose ends are both held, and ends it when
// it is told to.
func (e *env) bothWays(c, b *flow.Conn, end bool) {
	const each = mib
	move := func(from, to *flow.Conn) (wait func()) {
		sent := e.Go(func() {
			e.Must(from.Send(each, flow.Ragged))
			if end {
				e.Must(from.CloseWrite())
			}
		})
		received := e.Go(func() {
			if end {
				e.Must(to.RecvToEOF(flow.Ragged))
			} else {
				e.Must(to.Recv(each, flow.Ragged))
			}
		})
		return func() { sent(); received() }
	}
	up, down := move(c, b), move(b, c)
	up()
	down()
	e.Must(flow.Match(c, b))
}

// reloadKeepsFlows has flows to a target that goes, of an app that goes, and one that nothing
// happens to.
func reloadKeepsFlows(e *env) {
	e.serveAdmin()
	stays, goes := e.listen(e.at(1), flow.Hold).Name, e.listen(e.at(2), flow.Hold).Name
	e.start(app(front, []string{goes}, nil), app(front+1, []string{stays}, nil), app(front+2, []string{stays}, nil))
	type ends struct{ client, backend *flow.Conn }
	var flows []ends
	for port := front; port <= front+2; port++ {
		c, b := e.pair(port)
		e.bothWays(c, b, false)
		flows = append(flows, ends{c, b})
	}

	rows := e.reload(app(front, []string{stays}, keys{"IdleTimeout": "5m"}), app(front+2, []string{stays}, nil))
	var said []string
	for _, r := range rows {
		said = append(said, strings.Join(strings.Fields(r.Change+" "+r.App+" "+r.Key+" "+r.From+" "+r.To), " "))
	}
	promised := "added app-5000 Targets " + stays + "; removed app-5000 Targets " + goes +
		"; changed app-5000 IdleTimeout 1h 5m; removed app-5001"
	if strings.Join(said, "; ") != promised {
		e.Failf("promised the changes %q, the daemon tells %q", promised, said)
	}
	e.refusing(front + 1)
	if c, b := e.pair(front); b.Name != stays {
		e.Failf("a new connection from %s reached the target that was removed", c.Local())
	}
	if n := len(e.shunt("flows", "--app", "app-5001")); n != 1 {
		e.Failf("of the removed app %d flows are told, there is one", n)
	}
	for _, f := range flows {
		e.bothWays(f.client, f.backend, true)
		e.ended(f.client, "done")
	}
	e.Until("the removed app is gone, and its connections are still counted", func() bool {
		apps, status := e.shunt("apps"), e.shunt("status")
		return len(apps) == 2 && status[0].Accepted == len(flows)+1
	})
	e.Sawf("3 flows went on, of a removed app and to a removed target, too")
}

// reloadDrains bounds how long flows of what was removed go on.
func reloadDrains(e *env) {
	e.serveAdmin()
	e.root = keys{"DrainTimeout": "300ms"}
	stays, goes := e.listen(e.at(1), flow.Hold).Name, e.listen(e.at(2), flow.Hold).Name
	e.start(app(front, []string{goes}, nil), app(front+1, []string{stays}, nil), app(front+2, []string{stays}, nil))
	target, targetBackend := e.pair(front)
	removed, removedBackend := e.pair(front + 1)
	kept, keptBackend := e.pair(front + 2)
	e.reload(app(front, []string{stays}, nil), app(front+2, []string{stays}, keys{"IdleTimeout": "5m"}))
	for _, c := range []*flow.Conn{target, targetBackend, removed, removedBackend} {
		e.Must(c.RecvReset())
	}
	e.ended(target, "drain_timeout")
	e.ended(removed, "drain_timeout")
	e.bothWays(kept, keptBackend, true)
	e.Sawf("reset after DrainTimeout, and only they")
}

// reloadOfABadFile has the daemon refuse what is wrong in itself, and what this host does not allow.
func reloadOfABadFile(e *env) {
	e.serveAdmin()
	targets := e.backends(1, flow.Echo)
	good := app(front, targets, nil)
	e.start(good)
	c, _ := e.ask(front, 100)

	e.refusedReload([]string{"config.json:1:", "app-5001", "IdleTimeout", "ConnectTimout"},
		app(front, targets, keys{"IdleTimeout": "soon"}), app(front+1, targets, keys{"ConnectTimout": "1s"}))
	taken := net.JoinHostPort(lab.Addr(e.family, lab.ClientNet, lab.ProxyHost), fmt.Sprint(front+2))
	other, err := e.lab.Proxy.Listen(taken)
	e.Must(err)
	e.Defer(func() { other.Close() })
	e.refusedReload([]string{"can't listen", fmt.Sprint(front + 2), "Address already in use"},
		app(front, []string{e.at(2)}, nil), app(front+1, targets, nil), app(front+2, targets, nil))

	e.refusing(front + 1)
	e.visits(front, 5)
	e.Must(c.Ask(100, flow.Steady))
	e.Must(c.Echoed())
	if rows := e.reload(good); len(rows) > 0 {
		e.Failf("after what was refused, %+v is said to have changed", rows)
	}
	e.Sawf("both errors with their places, and the port that is taken")
}

// reloadOfAQueue has clients connect while the daemon is not looking, and reloads before it looks
// again: at a port that stays, one that becomes another app's, and one that goes.
func reloadOfAQueue(e *env) {
	const each = 200 // more than the daemon accepts in one go
	e.serveAdmin()
	targets := e.backends(1, flow.Echo)
	e.start(app(front, targets, nil), app(front+1, targets, nil), app(front+2, targets, nil))
	e.daemon.Signal(syscall.SIGSTOP)
	var clients []*flow.Conn
	for i := 0; i < 3*each; i++ {
		clients = append(clients, e.dial(front+i%3))
	}
	time.Sleep(lastACK)
	e.configure(app(front, targets, nil), app(front+1, targets, keys{"Name": "other"}))
	e.daemon.Signal(syscall.SIGHUP)
	e.daemon.Signal(syscall.SIGCONT)
	for _, c := range clients {
		e.Must(c.Ask(1000, flow.Steady))
		e.Must(c.Close())
	}
	e.refusing(front + 2)
	e.visits(front+1, 1)
	e.Sawf("%d connections from three queues were served", len(clients))
}

// reloadOfNames changes the only target to a name that takes its time to resolve.
func reloadOfNames(e *env) {
	const slow = 300 * time.Millisecond
	e.serveAdmin()
	e.backends(2, flow.Echo)
	server, err := dns.Serve(e.lab.Proxy, "127.0.0.1:53")
	e.Must(err)
	e.Defer(server.Close)
	host := func(n int) string { return lab.Addr(e.family, lab.BackendNet, lab.FirstHost+n-1) }
	server.Set("before.shunt.test", host(1))
	server.Set("after.shunt.test", host(2))
	e.start(app(front, []string{fmt.Sprintf("before.shunt.test:%d", back)}, nil))
	server.Delay(slow)
	var done atomic.Bool
	visits := 0
	wait := e.Go(func() {
		for !done.Load() {
			e.visits(front, 1)
			visits++
		}
	})
	start := time.Now()
	e.reload(app(front, []string{fmt.Sprintf("after.shunt.test:%d", back)}, nil))
	took := time.Since(start)
	done.Store(true)
	wait()
	if n := e.visits(front, 5)[e.at(2)]; n != 5 {
		e.Failf("after the reload %d of 5 connections reached the new name's address", n)
	}
	if took < slow {
		e.Failf("committed after %v, before the name can have been known", took)
	}
	e.Sawf("%d connections were served while the name was looked up", visits)
}

// reloader asks the admin socket again and again, over one connection.
type reloader struct {
	conn  net.Conn
	lines *bufio.Scanner
}

// ask has the daemon reload and returns how much has changed.
func (r *reloader) ask() (changes int, err error) {
	if _, err := fmt.Fprintln(r.conn, `{"command":"reload"}`); err != nil {
		return 0, err
	}
	for ; r.lines.Scan(); changes++ {
		var row told
		if err := json.Unmarshal(r.lines.Bytes(), &row); err != nil {
			return 0, err
		}
		if row.Error != "" {
			return 0, errors.New(row.Error)
		}
		if row.End {
			return changes, nil
		}
	}
	return 0, fmt.Errorf("the answer has no end: %v", r.lines.Err())
}

// thousandReloads goes to and fro between two configurations under load.
func thousandReloads(e *env) {
	const reloads, long, short, growthMax = 1000, 8, 8, 8 * mib
	const pause = time.Millisecond // or the machine has no time for reloads
	e.serveAdmin()
	t := e.backends(3, flow.Echo)
	configs := [][]keys{
		{app(front, t[:2], nil), app(front+1, t[:1], nil), app(front+2, t, nil)},
		{app(front, t[1:], keys{"Balance": "round_robin", "KeepAlive": "30s"}),
			app(front+1, t[2:], keys{"Name": "other"}), app(front+3, t, keys{"Ports": []any{"5003-5009"}})},
	}
	e.start(configs[0]...)
	conn, err := net.Dial("unix", e.admin)
	e.Must(err)
	defer conn.Close()
	asker := &reloader{conn, bufio.NewScanner(conn)}
	again := func(n int) {
		for i := 0; i < n; i++ {
			e.configure(configs[(i+1)%2]...)
			changes, err := asker.ask()
			e.Must(err)
			if changes == 0 {
				e.Failf("nothing has changed, says the daemon")
			}
		}
	}

	again(2)
	before := e.daemon.FDs()
	var done atomic.Bool
	var served atomic.Int64
	wait := e.Go(func() {
		e.Parallel(long+short, long+short, func(i int) {
			c, b := e.ask(front+i%2, 100)
			for !done.Load() {
				if i < long {
					e.Must(c.Ask(1000, flow.Steady))
				} else {
					e.Must(c.Close())
					c, b = e.ask(front+i%2, 100)
				}
				served.Add(1)
				time.Sleep(pause)
			}
			e.Must(flow.Match(c, b))
			e.Must(c.Close())
		})
	})
	again(reloads / 10) // by then pools and heap are as large as the load makes them
	memory := e.daemon.RSS()
	start := time.Now()
	again(reloads - reloads/10)
	took, growth := time.Since(start), e.daemon.RSS()-memory
	done.Store(true)
	wait()
	if growth > growthMax && !e.sanitized {
		e.Failf("memory has grown by %d KiB", growth>>10)
	}
	e.Until("the daemon has as many open files as before", func() bool {
		fds := e.daemon.FDs()
		return fds["socket"] == before["socket"] && fds["anon_inode"] == before["anon_inode"]
	})
	e.Sawf("%d requests meanwhile, %.1f ms a reload, memory +%d KiB", served.Load(),
		float64(took.Milliseconds())/float64(reloads-reloads/10), growth>>10)
}
