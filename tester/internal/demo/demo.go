// SPDX-License-Identifier: MIT

// Package demo shows a config at work: the file as it is, echo backends for its targets in the lab,
// mixed traffic, a backend that is away for a while, and then what came of it, by app and target.
package demo

import (
	"fmt"
	"math/rand"
	"net"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shunt/tester/internal/config"
	"shunt/tester/internal/daemon"
	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

const (
	duration     = 10 * time.Second
	stopAfter    = 3 * time.Second // one backend leaves
	startAfter   = 6 * time.Second // and returns
	drain        = 20 * time.Second
	clientsByApp = 4
	asksMax      = 20      // by connection
	askBitsMax   = 17      // an ask is 1 B to 128 KiB, each power of two as likely
	bulk         = 4 << 20 // and now and then this
	bulkOneIn    = 40      // connections
	family       = 4
)

type demo struct {
	lab    *lab.Lab
	hub    flow.Hub
	daemon *daemon.Daemon
	apps   []config.App

	conns, bytes, open, failed atomic.Int64
	mu                         sync.Mutex
	trips                      map[string][]time.Duration // by the backend's address
	firstErr                   error
}

// Run runs the demo and says whether everything went well.
func Run(l *lab.Lab, shunt, configPath string) (bool, error) {
	apps, err := config.Load(configPath)
	if err != nil {
		return false, err
	}
	d := &demo{lab: l, apps: apps, trips: make(map[string][]time.Duration)}
	d.hub.Deadline = time.Now().Add(duration + drain)
	defer d.hub.Close()
	if err := l.SetFamily(family); err != nil {
		return false, err
	}
	backends, err := d.backends()
	if err != nil {
		return false, err
	}
	d.daemon, err = daemon.Start(l.Proxy.Command(0, false, shunt, "run", "-c", configPath, "--log-format", "json"))
	if err != nil {
		return false, err
	}
	defer d.daemon.Kill()
	if !d.await(func() bool { return d.daemon.Count("ready") > 0 }) {
		return false, fmt.Errorf("the daemon did not get ready; %s", d.daemon.Tail())
	}
	fmt.Printf("%s: %d apps, %d living targets, traffic for %v\n", configPath, len(apps), len(backends), duration)
	if err := d.traffic(backends[len(backends)/2]); err != nil {
		return false, err
	}
	d.daemon.Signal(syscall.SIGTERM)
	if !d.await(d.daemon.Exited) || d.daemon.ExitCode() != 0 {
		return false, fmt.Errorf("the daemon did not end well; %s", d.daemon.Tail())
	}
	return d.summary(), nil
}

func (d *demo) await(condition func() bool) bool {
	for !condition() {
		if time.Now().After(d.hub.Deadline) || d.daemon.Exited() {
			return condition()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// address is where a target lives in the lab, or "" if its name does not resolve there.
func address(target string) string {
	host, port, _ := net.SplitHostPort(target)
	if host != lab.EchoHost {
		return ""
	}
	return net.JoinHostPort(lab.Addr(family, lab.BackendNet, lab.FirstHost), port)
}

func (d *demo) backends() (list []*flow.Backend, err error) {
	for _, a := range d.apps {
		for _, target := range a.Targets {
			if address(target) == "" {
				continue
			}
			b, err := d.hub.Listen(d.lab.Backend, address(target), flow.Echo)
			if err != nil {
				return nil, err
			}
			list = append(list, b)
		}
	}
	return list, nil
}

// traffic runs the clients, shows progress, and takes one backend away for a while.
func (d *demo) traffic(victim *flow.Backend) error {
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := 0; i < clientsByApp*len(d.apps); i++ {
		a := d.apps[i%len(d.apps)]
		clients.Add(1)
		go func() {
			defer clients.Done()
			for {
				select {
				case <-stop:
					return
				default:
					d.visit(a.Ports[rand.Intn(len(a.Ports))])
				}
			}
		}()
	}
	start := time.Now()
	note := "all targets up"
	progress := newProgress()
	leave, back := time.After(stopAfter), time.After(startAfter)
	for end := time.After(duration); end != nil; {
		select {
		case <-leave:
			victim.Stop()
			note = victim.Name + " is down"
		case <-back:
			if _, err := d.hub.Listen(d.lab.Backend, victim.Name, flow.Echo); err != nil {
				return err
			}
			note = victim.Name + " is back"
		case <-end:
			end = nil
		case <-progress.tick.C:
			progress.show(fmt.Sprintf("%4.1f s  %6d connections  %3d open  %7.1f MiB  %d failed  %s",
				time.Since(start).Seconds(), d.conns.Load(), d.open.Load(), float64(d.bytes.Load())/(1<<20),
				d.failed.Load(), note))
		}
	}
	close(stop)
	clients.Wait()
	progress.end()
	return nil
}

// visit is one connection: some questions of all sizes, checked and timed.
func (d *demo) visit(port int) {
	d.open.Add(1)
	defer d.open.Add(-1)
	if err := d.converse(port); err != nil {
		d.mu.Lock()
		if d.failed.Add(1) == 1 {
			d.firstErr = err
		}
		d.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

func (d *demo) converse(port int) error {
	proxy := net.JoinHostPort(lab.Addr(family, lab.ClientNet, lab.ProxyHost), fmt.Sprint(port))
	tcp, err := d.lab.Client.Dial("", proxy, d.hub.Deadline)
	if err != nil {
		return err
	}
	c := flow.NewConn("client", tcp, d.hub.Deadline)
	defer c.Close()
	token, err := c.SendToken()
	if err != nil {
		return err
	}
	if err := c.Recv(flow.TokenSize, flow.Steady); err != nil {
		return err
	}
	b, err := d.hub.Take(token)
	if err != nil {
		return err
	}
	d.conns.Add(1)
	for asks := rand.Intn(asksMax); asks >= 0; asks-- {
		size := int64(1) << rand.Intn(askBitsMax+1)
		if asks == 0 && rand.Intn(bulkOneIn) == 0 {
			size = bulk
		}
		start := time.Now()
		if err := c.Ask(size, flow.Steady); err != nil {
			return err
		}
		d.mu.Lock()
		d.trips[b.Name] = append(d.trips[b.Name], time.Since(start))
		d.mu.Unlock()
		d.bytes.Add(2 * size)
		time.Sleep(time.Duration(rand.Intn(5)) * time.Millisecond)
	}
	return flow.Match(c, b)
}

// summary prints the table, from the daemon's own records but for the round trips, and the verdict.
func (d *demo) summary() bool {
	type line struct {
		conns, failovers int
		up, down         int64
	}
	lines := make(map[string]*line)
	var total line
	for _, r := range d.daemon.Records(func(r *daemon.Record) bool { return r.Event == "connection" }) {
		key := r.App + " " + r.Target
		if lines[key] == nil {
			lines[key] = &line{}
		}
		for _, l := range []*line{lines[key], &total} {
			l.conns++
			l.up += r.ToBackend
			l.down += r.ToClient
			if r.Attempts > 1 {
				l.failovers++
			}
		}
	}
	fmt.Printf("\n%-16s  %-28s  %11s  %9s  %9s  %15s  %7s  %7s\n",
		"app", "target", "connections", "MiB up", "MiB down", "failovers to it", "p50 ms", "p99 ms")
	for _, a := range d.apps {
		for _, target := range a.Targets {
			l := lines[a.Name+" "+target]
			if l == nil {
				l = &line{}
			}
			trips := d.trips[address(target)]
			fmt.Printf("%-16s  %-28s  %11d  %9.1f  %9.1f  %15d  %7s  %7s\n", a.Name, target, l.conns,
				float64(l.up)/(1<<20), float64(l.down)/(1<<20), l.failovers, quantile(trips, 50), quantile(trips, 99))
		}
	}
	if n := d.failed.Load(); n > 0 {
		fmt.Printf("\n%d of %d connections failed, the first by: %v\n", n, d.conns.Load()+n, d.firstErr)
		return false
	}
	if total.conns == 0 {
		fmt.Println("\nno connection was made")
		return false
	}
	fmt.Printf("\nall %d connections were served and every byte came back right; %d of them by another target than "+
		"the first one tried\n", total.conns, total.failovers)
	return true
}

func quantile(trips []time.Duration, percent int) string {
	if len(trips) == 0 {
		return "-"
	}
	sort.Slice(trips, func(i, j int) bool { return trips[i] < trips[j] })
	return fmt.Sprintf("%.2f", trips[(len(trips)-1)*percent/100].Seconds()*1000)
}

// progress is one living line on a terminal, a line a second elsewhere.
type progress struct {
	living bool
	tick   *time.Ticker
}

func newProgress() *progress {
	info, err := os.Stdout.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return &progress{true, time.NewTicker(100 * time.Millisecond)}
	}
	return &progress{false, time.NewTicker(time.Second)}
}

func (p *progress) show(text string) {
	if p.living {
		fmt.Print("\r\x1b[K", text)
	} else {
		fmt.Println(text)
	}
}

func (p *progress) end() {
	p.tick.Stop()
	if p.living {
		fmt.Println()
	}
}
