// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"fmt"
	"math/rand"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
)

// The apps of turmoil, by port, what each may have at once, and where the targets of the one listen that
// are sent headers; the others' are at back.
const (
	plainPort, headedPort, localPort = front, front + 1, front + 2
	turmoilPlaces                    = 20
	headedBack                       = back + 1
)

// turmoil is a daemon to which everything happens at once. What it may do to a client is to reset it; what it
// may not is to change a byte, to end a stream in its middle, to let somebody wait for ever, or to lose count.
type turmoil struct {
	*env
	socket  string // the plain app listens there, at times
	servers []*server
	done    atomic.Bool

	served, broken atomic.Int64
}

// server is a backend that dies with its connections, and comes back.
type server struct {
	*env
	addr    string
	handle  flow.Handler
	mu      sync.Mutex
	backend *flow.Backend
	conns   []*flow.Conn
}

func (s *server) run() {
	handle := func(h *flow.Hub, c *flow.Conn) {
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.handle(h, c)
	}
	s.Until("the server's address is free", func() (free bool) {
		var err error
		s.backend, err = s.hub.Listen(s.lab.Backend, s.addr, handle)
		return err == nil
	})
}

func (s *server) die() {
	s.backend.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Reset() // it may have ended by itself
	}
	s.conns = nil
}

func oneOf[T any](these ...T) T { return these[rand.Intn(len(these))] }

// apps is what the file says next; calm is how it begins and ends.
func (t *turmoil) apps(calm bool) []keys {
	options := func(port int, further keys) keys {
		checks := keys{"Interval": "20ms", "Rise": 1, "Fall": 1}
		o := keys{"MaxConnections": turmoilPlaces, "MaxQueue": 1000, "QueueTimeout": "1m", "HealthCheck": checks}
		var targets []any
		for i := 1; i <= 3; i++ {
			target := keys{"Address": t.backendAt(i, port)}
			if !calm {
				target["MaxConnections"] = oneOf(0, 2, 10)
			}
			targets = append(targets, target)
		}
		if !calm {
			rand.Shuffle(3, func(i, k int) { targets[i], targets[k] = targets[k], targets[i] })
			targets = targets[rand.Intn(3):]
			o["MaxConnections"] = oneOf(3, 10, turmoilPlaces)
			o["Balance"] = oneOf("p2c", "round_robin", "least_conn", "random", "source_hash")
			o["OnDown"] = oneOf("keep", "close")
			o["SlowStart"] = oneOf("0", "200ms")
			o["MaxConnectionsPerSource"] = oneOf(0, 15)
			o["HealthCheck"] = oneOf[any]("off", checks)
		}
		o["Targets"] = targets
		for key, value := range further {
			o[key] = value
		}
		return o
	}
	listen := []string{"0.0.0.0", "::"}
	if calm || oneOf(true, false) {
		listen = append(listen, "unix:"+t.socket)
	}
	return []keys{app(plainPort, nil, options(back, keys{"Listen": listen})),
		app(headedPort, nil, options(headedBack, t.accepts(keys{"Send": oneOf("v1", "v2")}))),
		app(localPort, nil, options(back, keys{"LocalBypass": true, "Wire": false}))}
}

// visit is a client's way through one of the apps.
func (t *turmoil) visit() error {
	port := oneOf(plainPort, headedPort, localPort)
	c, err := t.tryDial(port, "")
	if err != nil {
		return err
	}
	defer c.Close()
	if port == headedPort {
		claim := claims[t.family]
		header := oneOf(flow.ProxyV1(claim.From, claim.To), flow.ProxyV2(claim.From, claim.To, nil))
		cut := rand.Intn(len(header))
		err = c.SendBefore(header[:cut])
		time.Sleep(time.Duration(rand.Intn(2)) * time.Millisecond)
		if err == nil {
			err = c.SendBefore(header[cut:])
		}
	}
	if err == nil {
		err = t.talk(c)
	}
	if err != nil {
		err = fmt.Errorf("%w (%s to port %d)", err, c.Local(), port)
	}
	return err
}

// visitSocket is the same at the unix socket, if it is there.
func (t *turmoil) visitSocket() error {
	conn, err := t.lab.Proxy.DialUnix(t.socket, t.Deadline)
	if err != nil {
		return syscall.ECONNRESET // there is none at the moment
	}
	c := flow.NewConn("client", conn, t.Deadline)
	defer c.Close()
	if err := t.talk(c); err != nil {
		return syscall.ECONNRESET // between unix sockets there is no RST: an end may be one
	}
	return nil
}

func (t *turmoil) talk(c *flow.Conn) error {
	if _, err := c.SendToken(); err != nil {
		return err
	}
	if err := c.Recv(flow.TokenSize, flow.Steady); err != nil {
		return err
	}
	for i := rand.Intn(4); i > 0; i-- {
		// In turn, not at once as by Ask: the kernel tells of a reset once, and who is sending then would be
		// told of it, and who is receiving of an end.
		n := 1 + rand.Int63n(50000)
		if err := c.Send(n, flow.Steady); err != nil {
			return err
		}
		if err := c.Recv(n, flow.Steady); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.Intn(10)) * time.Millisecond)
	}
	t.Must(c.Echoed())
	switch rand.Intn(3) {
	case 0:
		if err := c.CloseWrite(); err != nil {
			return err
		}
		return c.RecvToEOF(flow.Steady)
	case 1:
		if c.Local() != "" && c.Local() != "@" {
			return c.Reset()
		}
	}
	return nil
}

// until does something again and again.
func (t *turmoil) until(pause time.Duration, f func()) func() {
	return func() {
		for !t.done.Load() {
			f()
			time.Sleep(time.Duration(rand.Int63n(int64(pause))))
		}
	}
}

func (t *turmoil) client(visit func() error) func() {
	return t.until(5*time.Millisecond, func() {
		switch err := visit(); {
		case err == nil:
			t.served.Add(1)
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOTCONN):
			t.broken.Add(1)
		default:
			t.Must(err)
		}
	})
}

// order may be one that can't be carried out: a reload may just have removed the target.
func (t *turmoil) order(args ...string) {
	out, err := exec.Command(t.Shunt, append(args, "--socket", t.admin)...).CombinedOutput()
	if t.daemon.Exited() {
		t.Failf("the daemon is gone after shunt %v: %w: %s", args, err, out)
	}
}

func (t *turmoil) interfere() []func() {
	name := func() string { return fmt.Sprintf("app-%d", oneOf(plainPort, headedPort, localPort)) }
	return []func(){
		t.until(100*time.Millisecond, func() { t.reload(t.apps(false)...) }),
		t.until(100*time.Millisecond, func() {
			t.order("backends", oneOf("drain", "disable", "enable"), name(), oneOf(t.servers...).addr)
		}),
		t.until(100*time.Millisecond, func() { t.order("bypass", oneOf("on", "off"), name()) }),
		t.until(100*time.Millisecond, func() { t.shunt(oneOf("status", "apps", "backends", "flows")) }),
		t.until(200*time.Millisecond, func() {
			s := oneOf(t.servers...)
			s.die()
			time.Sleep(time.Duration(rand.Intn(100)) * time.Millisecond)
			s.run()
		}),
	}
}

// calmDown has everything be as in the beginning, and wants nothing to be left of what was.
func (t *turmoil) calmDown() {
	t.reload(t.apps(true)...)
	for _, row := range t.shunt("backends") {
		t.order("backends", "enable", row.App, row.Target)
	}
	t.Until("no connection is left, nor counted", func() bool {
		left := t.shunt("status")[0].Sessions
		for _, row := range append(t.shunt("apps"), t.shunt("backends")...) {
			left += row.Active + row.Queued
		}
		return left == 0
	})
	// Every place is there to be taken, in the apps and in the daemon.
	t.Until("all are up", func() bool {
		for _, row := range t.shunt("backends") {
			if row.Order != "enabled" || row.Addresses[0].State != "up" {
				return false
			}
		}
		return true
	})
	t.Parallel(2*turmoilPlaces, 2*turmoilPlaces, func(i int) { t.ask([]int{plainPort, localPort}[i%2], 1000) })
}

func everythingAtOnce(e *env) {
	const clients, long = 24, 4 * time.Second
	e.offWire = true
	e.serveAdmin()
	e.root = keys{"MaxConnections": 2 * turmoilPlaces, "DrainTimeout": "200ms"}
	t := &turmoil{env: e, socket: e.socketFolder() + "/in"}
	for i := 1; i <= 3; i++ {
		t.servers = append(t.servers, &server{env: e, addr: e.backendAt(i, back), handle: flow.Echo},
			&server{env: e, addr: e.backendAt(i, headedBack), handle: flow.Headed(flow.Echo)})
	}
	for _, s := range t.servers {
		s.run()
	}
	e.start(t.apps(true)...)
	tasks := t.interfere()
	for i := 0; i < clients; i++ {
		tasks = append(tasks, t.client(t.visit))
	}
	tasks = append(tasks, t.client(t.visitSocket), func() {
		time.Sleep(long)
		t.done.Store(true)
	})
	e.Parallel(len(tasks), len(tasks), func(i int) { tasks[i]() })
	t.calmDown()
	if wrong := e.records(func(r *daemon.Record) bool { return r.Reason == "internal" }); len(wrong) > 0 {
		e.Failf("%d connections ended by \"internal\"", len(wrong))
	}
	if t.served.Load() == 0 {
		e.Failf("nobody was served")
	}
	e.Sawf("%d served, %d reset", t.served.Load(), t.broken.Load())
}
