// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"net"
	"strings"
	"time"

	"shunt/tester/internal/config"
	"shunt/tester/internal/daemon"
	"shunt/tester/internal/dns"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

const badTarget = "bad.target.for.testing"

// everyPort lets config.json run as it is; the backends tell by whom a connection was taken.
func everyPort(e *env) {
	apps, err := config.Load(e.Config)
	e.Must(err)
	reachable := 0
	for _, a := range apps {
		for _, target := range a.Targets {
			if host, port, _ := net.SplitHostPort(target); host == lab.EchoHost {
				e.listen(net.JoinHostPort(lab.Addr(e.family, lab.BackendNet, lab.FirstHost), port), flow.Echo)
				reachable++
			}
		}
	}
	e.startFile(e.Config)

	const visits = 12
	conns := 0
	used := make(map[string]bool)
	for _, a := range apps {
		for _, port := range a.Ports {
			for backend := range e.visits(port, visits) {
				_, backendPort, _ := net.SplitHostPort(backend)
				target := net.JoinHostPort(lab.EchoHost, backendPort)
				if !strings.Contains(" "+strings.Join(a.Targets, " ")+" ", " "+target+" ") {
					e.Failf("port %d of %s reached %s", port, a.Name, target)
				}
				used[target] = true
			}
			conns += visits
			listener := fmt.Sprintf(":%d", port)
			e.Until(fmt.Sprintf("%d records for port %d of %s", visits, port, a.Name), func() bool {
				return visits == len(e.records(func(r *daemon.Record) bool {
					return r.App == a.Name && strings.HasSuffix(r.Listener, listener)
				}))
			})
		}
	}
	if len(used) != reachable {
		e.Failf("of %d targets only %v were used", reachable, used)
	}
	e.Sawf("%d connections, %d targets", conns, reachable)
}

func balance(e *env) {
	targets := e.backends(3, flow.Echo)
	weighted := []keys{{"Address": targets[0], "Weight": 3}, {"Address": targets[1], "Weight": 1}}
	apps := []keys{
		app(front, targets, keys{"Balance": "round_robin"}),
		app(front+1, nil, keys{"Balance": "round_robin", "Targets": weighted}),
		app(front+2, targets, keys{"Balance": "random"}),
		app(front+3, targets, keys{"Balance": "least_conn"}),
		app(front+4, targets, keys{"Balance": "p2c"}),
		app(front+5, targets, keys{"Balance": "source_hash"}),
	}
	e.start(apps...)
	within := func(what string, count map[string]int, backend, least, most int) {
		if n := count[targets[backend]]; n < least || n > most {
			e.Failf("%s: %s got %d connections, promised %d to %d: %v", what, targets[backend], n, least, most, count)
		}
	}
	// held opens n connections and keeps them: what the algorithms that count connections need
	// to see.
	held := func(port, n int) map[string]int {
		count := make(map[string]int)
		for i := 0; i < n; i++ {
			_, b := e.ask(port, 100)
			count[b.Name]++
		}
		return count
	}

	robin, weights, random := e.visits(front, 30), e.visits(front+1, 40), e.visits(front+2, 300)
	least, p2c := held(front+3, 30), held(front+4, 60)
	within("weights 3:1", weights, 0, 30, 30)
	within("weights 3:1", weights, 1, 10, 10)
	for i := range targets {
		within("round_robin", robin, i, 10, 10)
		within("least_conn", least, i, 10, 10)
		within("p2c", p2c, i, 15, 25)
		within("random", random, i, 50, 150) // 100, and six standard deviations of 8.2
	}
	used := make(map[string]bool)
	for host := lab.FirstHost; host <= lab.LastHost; host++ {
		source := lab.Addr(e.family, lab.ClientNet, host)
		_, first := e.askFrom(front+5, 100, source)
		for i := 0; i < 3; i++ {
			if _, b := e.askFrom(front+5, 100, source); b.Name != first.Name {
				e.Failf("source_hash: %s reached %s, then %s", source, first.Name, b.Name)
			}
		}
		used[first.Name] = true
	}
	if len(used) < 2 {
		e.Failf("source_hash: all sources reached the same target")
	}
	e.Sawf("p2c %v, random %v, %d targets for 8 sources", counts(p2c), counts(random), len(used))
}

func counts(m map[string]int) (list []int) {
	for _, n := range m {
		list = append(list, n)
	}
	return list
}

// passedOver has connections made while only the last target is any good, and wants to see that
// others were tried.
func (e *env) passedOver(conns, parallel int, targets []string, options keys) {
	options["Balance"] = "round_robin"
	e.start(app(front, targets, options))
	good := targets[len(targets)-1]
	e.Parallel(conns, parallel, func(int) {
		if c, b := e.ask(front, 1000); b.Name != good {
			e.Failf("%s was served by %s", c.Local(), b.Name)
		} else {
			e.Must(c.Close())
		}
	})
	e.Until("records of all connections", func() bool { return e.daemon.Count("connection") >= conns })
	second := e.records(func(r *daemon.Record) bool { return r.Attempts > 1 })
	failed := e.records(func(r *daemon.Record) bool { return r.Reason != "done" })
	if len(failed) > 0 {
		e.Failf("a record with reason %q", failed[0].Reason)
	}
	e.Sawf("%d connections, %d at a second attempt", conns, len(second))
}

func deadTarget(e *env) {
	const conns = 40
	good := e.listen(e.at(1), flow.Echo).Name
	e.passedOver(conns, 1, []string{e.at(2), good}, keys{})
	e.Until("a backend_down record", func() bool { return e.daemon.Count("backend_down") > 0 })
	// Its turn comes with every other connection, but once it is marked down only trials go there, in
	// pauses that double from half a second: more than a quarter of the connections can't have met it.
	met := len(e.records(func(r *daemon.Record) bool { return r.Attempts == 2 }))
	if met == 0 || met > conns/4 {
		e.Failf("%d of %d connections tried the dead target first", met, conns)
	}
}

func blackHole(e *env) {
	good := e.listen(e.at(1), flow.Echo).Name
	e.passedOver(16, 16, []string{e.blackHole(), good}, keys{"ConnectTimeout": "300ms"})
	late := e.records(func(r *daemon.Record) bool { return r.Attempts == 2 })
	if len(late) == 0 {
		e.Failf("no connection was recorded with a second attempt")
	}
}

// firstBytes has clients send at once, and more than a window of it, before anybody has answered at the
// other end.
func firstBytes(e *env) {
	const conns, first = 4, 200000
	good := e.listen(e.at(1), flow.Hold).Name
	options := keys{"Balance": "round_robin", "ConnectTimeout": "300ms"}
	e.start(app(front, []string{e.at(2), good}, options), app(front+1, []string{e.blackHole(), good}, options))
	for port := front; port <= front+1; port++ {
		e.Parallel(conns, conns, func(int) {
			c := e.dial(port)
			token, err := c.SendToken()
			e.Must(err)
			sent := e.Go(func() { e.Must(c.Send(first, flow.Steady)) })
			b, err := e.hub.Take(token)
			e.Must(err)
			e.Must(b.Recv(first, flow.Steady))
			sent()
			e.carry(c, b, first, flow.Steady)
			e.ended(c, "done")
		})
		name := fmt.Sprintf("app-%d", port)
		if len(e.records(func(r *daemon.Record) bool { return r.App == name && r.Attempts == 2 })) == 0 {
			e.Failf("no connection of %s met the bad target first", name)
		}
	}
}

func unresolvable(e *env) {
	good := e.listen(e.at(1), flow.Echo).Name
	e.passedOver(20, 4, []string{badTarget + ":9000", good}, keys{})
}

func returning(e *env) {
	stays, leaves := e.listen(e.at(1), flow.Echo), e.listen(e.at(2), flow.Echo)
	e.start(app(front, []string{stays.Name, leaves.Name}, keys{"Balance": "round_robin"}))
	if n := e.visits(front, 10)[leaves.Name]; n != 5 {
		e.Failf("before: %d of 10 connections", n)
	}
	leaves.Stop()
	if n := e.visits(front, 10)[stays.Name]; n != 10 {
		e.Failf("while it is away: the other got %d of 10 connections", n)
	}
	e.listen(leaves.Name, flow.Echo)
	start, conns := time.Now(), 0
	e.Until("the target is taken again", func() bool {
		conns++
		return e.visits(front, 1)[leaves.Name] == 1
	})
	if n := e.visits(front, 10)[leaves.Name]; n != 5 {
		e.Failf("after: %d of 10 connections", n)
	}
	e.Until("a backend_down and a backend_up record", func() bool {
		return e.daemon.Count("backend_down") > 0 && e.daemon.Count("backend_up") > 0
	})
	e.Sawf("taken again after %.1f s and %d connections", time.Since(start).Seconds(), conns)
}

func dnsFollowed(e *env) {
	const name = "moving.shunt.test"
	e.backends(3, flow.Echo)
	host := func(n int) string { return lab.Addr(e.family, lab.BackendNet, lab.FirstHost+n-1) }
	server, err := dns.Serve(e.lab.Proxy, "127.0.0.1:53")
	e.Must(err)
	e.Defer(server.Close)
	server.Set(name, host(1))
	e.start(app(front, []string{fmt.Sprintf("%s:%d", name, back)}, nil))
	if n := e.visits(front, 5)[e.at(1)]; n != 5 {
		e.Failf("before: %d of 5 connections reached the name's address", n)
	}

	server.Set(name, host(2))
	e.Until("a connection reaches the new address", func() bool { return e.visits(front, 1)[e.at(2)] == 1 })
	if n := e.visits(front, 10)[e.at(2)]; n != 10 {
		e.Failf("after the change: %d of 10 connections reached the new address", n)
	}

	server.Set(name, host(1), host(2), host(3))
	used := make(map[string]int)
	e.Until("connections reach all three addresses", func() bool {
		for backend, n := range e.visits(front, 3) {
			used[backend] += n
		}
		return len(used) == 3
	})
	e.Sawf("the new address, then all three")
}

func allDown(e *env) {
	dead := []string{e.at(1), e.at(2)}
	e.start(app(front, dead, nil))
	for i := 0; i < 5; i++ {
		if r := e.refused(front, "no_backend"); i == 0 && r.Attempts != 2 {
			e.Failf("promised an attempt at each target, the record says %d", r.Attempts)
		}
	}
	e.listen(dead[0], flow.Echo)
	e.visits(front, 1)
	e.Sawf("5 resets, then an echo")
}

func clientLeaves(e *env) {
	const timeout = 20 * time.Second
	e.start(app(front, []string{e.blackHole()}, keys{"ConnectTimeout": timeout.String()}))
	c := e.dial(front)
	time.Sleep(100 * time.Millisecond) // for the daemon to begin to connect
	e.Must(c.Reset())
	r := e.ended(c, "client_reset")
	if r.DurationMS > float64(timeout.Milliseconds())/2 {
		e.Failf("only after %.0f ms", r.DurationMS)
	}
	e.Sawf("ended after %.0f ms", r.DurationMS)
}
