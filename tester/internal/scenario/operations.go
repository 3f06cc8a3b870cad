// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/dns"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
	"shunt/tester/internal/program"
)

// The apps of operations, by port, and where their backends listen; servers listen at three addresses.
const (
	heldPort, redisPort, webPort, addedPort = front, front + 1, front + 2, front + 3
	redisBack, webBack                      = back + 1, back + 2
	movingName                              = "moving.shunt.test"
)

// busy is a daemon under load, from flows that stay and from programs that come and go.
type busy struct {
	*env
	redis, nginx     string // paths
	benchmark, wrk   string
	clients, backend []*flow.Conn // the two ends of each flow that stays

	done           atomic.Bool
	asked          atomic.Int64 // by the flows that stay
	runs, requests atomic.Int64 // of redis-benchmark and of wrk
}

// operations does to a daemon under load what an operator does. Nobody is to notice: the flows that stay
// are exact, and the programs see no error. The third server of each kind is the one that comes and goes.
func operations(e *env) {
	const flows = 2000
	e.needFDs(3 * flows)
	s := &busy{env: e, clients: make([]*flow.Conn, flows), backend: make([]*flow.Conn, flows)}
	redis, web := e.need("redis-server", "", "redis-server", "redis-benchmark"), e.need("wrk", "", "wrk")
	s.redis, s.benchmark, s.wrk = redis[0], redis[1], web[0]
	s.nginx = e.need("nginx", "/usr/sbin", "nginx")[0]
	names, err := dns.Serve(e.lab.Proxy, "127.0.0.1:53")
	e.Must(err)
	e.Defer(names.Close)
	host := func(n int) string { return lab.Addr(e.family, lab.BackendNet, lab.FirstHost+n-1) }
	names.Set(movingName, host(1))
	e.backends(2, flow.Echo)
	s.serve(1)
	s.serve(2)
	e.serveAdmin()
	e.start(s.apps("p2c", 3)...)

	e.Parallel(flows, 64, func(i int) { s.clients[i], s.backend[i] = e.ask(heldPort, 100) })
	s.underLoad(func() {
		s.serversComeAndGo()
		names.Set(movingName, host(2))
		e.Until("new connections follow the name", func() bool { return e.visits(heldPort, 1)[e.at(2)] == 1 })
		for i := 0; i < 5; i++ {
			e.reload(s.apps([]string{"random", "p2c"}[i%2], 2+i%2)...)
		}
	})
	s.endAll()
	e.Sawf("%d flows were asked %d times and are exact; %d runs of redis-benchmark and %d requests of wrk without an error",
		flows, s.asked.Load(), s.runs.Load(), s.requests.Load())
}

// serversComeAndGo has the third ones be away, come, leave the file, go, be in the file all the same, and come
// back.
func (s *busy) serversComeAndGo() {
	s.until("backend_down", 1, "the third servers, which are not there, are left out")
	third := s.serve(3)
	s.until("backend_up", 1, "the third servers have come")
	s.reload(append(s.apps("round_robin", 2), app(addedPort, []string{s.at(1)}, nil))...)
	s.untilUnused(3)
	for _, server := range third {
		server.Kill()
	}
	s.visits(addedPort, 3)
	s.reload(s.apps("least_conn", 3)...)
	s.until("backend_down", 2, "the third servers, which are back in the file only, are left out")
	s.serve(3)
	s.until("backend_up", 2, "the third servers are back")
}

// apps has the programs' apps use the first servers, so many.
func (s *busy) apps(balance string, servers int) []keys {
	var redis, web []string
	for i := 1; i <= servers; i++ {
		redis, web = append(redis, s.backendAt(i, redisBack)), append(web, s.backendAt(i, webBack))
	}
	options := keys{"Balance": balance}
	return []keys{app(heldPort, []string{fmt.Sprintf("%s:%d", movingName, back)}, options),
		app(redisPort, redis, options), app(webPort, web, options)}
}

// serve starts a server of each kind at a backend's address.
func (s *busy) serve(n int) []*program.Program {
	addr := s.backendAt(n, redisBack)
	host, port, err := net.SplitHostPort(addr)
	s.Must(err)
	redis := s.serveBy(addr, false, s.redis, "--bind", host, "--port", port, "--save", "", "--dir", s.lab.Dir,
		"--protected-mode", "no")
	nginx, _ := s.env.nginx(s.nginx, s.backendAt(n, webBack))
	return []*program.Program{redis, nginx}
}

// underLoad calls f while there is load, and ends with the first of all that goes wrong.
func (s *busy) underLoad(f func()) {
	const askers = 4
	tasks := []func(){
		func() {
			f()
			s.done.Store(true)
		},
		func() {
			for !s.done.Load() {
				s.loadPages()
			}
		},
		func() {
			for !s.done.Load() {
				s.loadValues()
			}
		},
	}
	for i := 0; i < askers; i++ {
		i := i
		tasks = append(tasks, func() {
			for k := i; !s.done.Load(); k = (k + askers) % len(s.clients) {
				s.askAgain(k)
			}
		})
	}
	s.Parallel(len(tasks), len(tasks), func(i int) { tasks[i]() })
}

const loadConns = 10 // of each program

func (s *busy) loadPages() { s.requests.Add(int64(s.env.wrk(s.wrk, webPort, loadConns, "small"))) }

func (s *busy) loadValues() {
	const requests = 20000
	host, port := s.proxied(redisPort)
	out := s.runIn(s.lab.Client, "", s.benchmark, "-h", host, "-p", port, "-n", strconv.Itoa(requests),
		"-c", strconv.Itoa(loadConns), "-P", "4", "-t", "set,get", "--csv")
	if strings.Contains(strings.ToLower(out), "err") {
		s.Failf("redis-benchmark says: %s", out)
	}
	s.runs.Add(1)
}

// askAgain uses a flow that stays.
func (s *busy) askAgain(i int) {
	const pause = time.Millisecond // or the machine has no time for anything else
	s.Must(s.clients[i].Ask(1000, flow.Steady))
	s.asked.Add(1)
	time.Sleep(pause)
}

// until waits until each of the third servers has had an event so many times.
func (s *busy) until(event string, times int, what string) {
	for _, port := range []int{redisBack, webBack} {
		addr := s.backendAt(3, port)
		s.Until(what, func() bool {
			return len(s.daemon.Records(func(r *daemon.Record) bool { return r.Event == event && r.Target == addr })) >= times
		})
	}
}

// untilUnused waits until no flow leads to a backend's programs.
func (s *busy) untilUnused(n int) {
	const pause = 50 * time.Millisecond // between looks at thousands of flows
	s.Until("nobody uses the server any more", func() bool {
		time.Sleep(pause)
		for _, r := range s.shunt("flows") {
			if r.Address == s.backendAt(n, redisBack) || r.Address == s.backendAt(n, webBack) {
				return false
			}
		}
		return true
	})
}

// endAll uses each flow that has stayed once more, ends it, and compares what its ends have seen.
func (s *busy) endAll() {
	s.Parallel(len(s.clients), 64, func(i int) {
		c, b := s.clients[i], s.backend[i]
		s.Must(c.Ask(1000, flow.Steady))
		s.Must(c.CloseWrite())
		s.Must(c.RecvToEOF(flow.Steady))
		s.Must(flow.Match(c, b))
	})
	name := fmt.Sprintf("app-%d", heldPort)
	s.Until("a record of each flow that has stayed", func() bool {
		return len(s.records(func(r *daemon.Record) bool { return r.App == name })) >= len(s.clients)
	})
	s.Until("no connection is left", func() bool { return s.shunt("status")[0].Sessions == 0 })
	bad := s.records(func(r *daemon.Record) bool {
		return r.Reason != "done" && (r.App == name || r.Reason != "client_reset" && r.Reason != "backend_reset")
	})
	if len(bad) > 0 {
		s.Failf("a connection of %s at %s ended by %q", bad[0].Client, bad[0].App, bad[0].Reason)
	}
}
