// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"
	"net"
	"strings"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// Host numbers, in the backends' network, of addresses that the proxy is given, and of one that it is not.
const firstSource, sources, absentSource = 101, 2, 109

// sourceHosts gives the proxy more addresses, which it loses with the trial.
func (e *env) sourceHosts() (hosts []string) {
	bits := map[int]int{4: 24, 6: 64}[e.family]
	for i := 0; i < sources; i++ {
		host := lab.Addr(e.family, lab.BackendNet, firstSource+i)
		change := fmt.Sprintf(" %s/%d dev backends", host, bits)
		nodad := map[int]string{4: "", 6: " nodad"}[e.family]
		e.Must(e.lab.Proxy.IP("addr add" + change + nodad))
		e.Defer(func() { _ = e.lab.Proxy.IP("addr del" + change) })
		hosts = append(hosts, host)
	}
	return hosts
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// sourcesUsed has so few ports that one source would not do.
func sourcesUsed(e *env) {
	const ports, conns = 10, 10 * sources
	const theOther = 10 // subtracted from a family, it is the other one
	hosts := e.sourceHosts()
	absent := lab.Addr(e.family, lab.BackendNet, absentSource)
	good := e.backends(1, flow.Echo)
	e.start(app(front, good, keys{"SourceAddresses": append([]string{absent}, hosts...)}),
		app(front+1, good, keys{"SourceAddresses": []string{lab.Addr(theOther-e.family, lab.BackendNet, lab.ProxyHost)}}))
	first := 40000 // and others for each engine: these rest in TIME_WAIT
	for i, engine := range e.Engines {
		if engine == e.engine {
			first += i * ports
		}
	}
	undo, err := e.lab.Proxy.Sysctl("net/ipv4/ip_local_port_range", fmt.Sprintf("%d %d", first, first+ports-1))
	e.Must(err)
	e.Defer(undo)
	used := make(map[string]int)
	for i := 0; i < conns; i++ {
		_, b := e.ask(front, 1000)
		used[hostOf(b.Remote())]++
		if i == 2*sources && len(used) < sources {
			e.Failf("of %d connections all come from %v, so these are not taken in turn", i+1, used)
		}
	}
	for _, host := range hosts {
		if used[host] != ports {
			e.Failf("%s was used %d times of %d: %v", host, used[host], ports, used)
		}
	}
	e.refused(front, "no_resources")
	if r := e.refused(front+1, "no_backend"); r.Attempts != 1 {
		e.Failf("promised that the target is not reached from another family, the record has %d attempts", r.Attempts)
	}
	e.Sawf("%d connections from %d addresses with %d ports each", conns, sources, ports)
}

// sourcesChecked has a target that only one of the proxy's addresses may reach.
func sourcesChecked(e *env) {
	hosts := e.sourceHosts()
	absent := lab.Addr(e.family, lab.BackendNet, absentSource)
	checked := make(chan string, 1)
	target := e.listen(e.at(1), func(_ *flow.Hub, c *flow.Conn) {
		select {
		case checked <- hostOf(c.Remote()):
		default:
		}
		c.Close()
	}).Name
	e.start(app(front, []string{target}, keys{"SourceAddresses": []string{absent, hosts[1]},
		"HealthCheck": keys{"Interval": "20ms"}}))
	e.Until("the target is checked", func() bool { return len(checked) > 0 })
	if from := <-checked; from != hosts[1] {
		e.Failf("a check came from %s, connections come from %s", from, hosts[1])
	}
}

// transparent has the network bring back to the proxy what backends send to clients.
func transparent(e *env) {
	if e.Unprivileged {
		e.Skipf("the daemon may not")
	}
	e.offWire = true
	e.serveAdmin()
	clients := fmt.Sprintf("%s/%d", lab.Addr(e.family, lab.ClientNet, 0), map[int]int{4: 24, 6: 64}[e.family])
	route := "route %s " + clients + " via " + lab.Addr(e.family, lab.BackendNet, lab.ProxyHost)
	const rule, local = "rule %s iif backends lookup 100", "route %s local default dev lo table 100"
	for _, step := range []struct {
		ns     *lab.NS
		change string
	}{{e.lab.Backend, route}, {e.lab.Proxy, rule}, {e.lab.Proxy, local}} {
		step := step
		e.Must(step.ns.IPOf(e.family, fmt.Sprintf(step.change, "add")))
		e.Defer(func() { _ = step.ns.IPOf(e.family, fmt.Sprintf(step.change, "del")) })
	}
	good := e.listen(e.at(1), flow.Hold).Name
	e.start(app(front, []string{e.at(2), good}, keys{"Transparent": true}))
	for host := lab.FirstHost; host < lab.FirstHost+3; host++ {
		c, err := e.tryDial(front, lab.Addr(e.family, lab.ClientNet, host))
		e.Must(err)
		b := e.meet(c)
		if hostOf(b.Remote()) != hostOf(c.Local()) {
			e.Failf("the backend sees %s, the client is %s", b.Remote(), c.Local())
		}
		if row := e.flowOf(c); row.Engine == "wire" || e.onWire && !strings.Contains(row.Why, "the client's own address") {
			e.Failf("it is on %s: %s", row.Engine, row.Why)
		}
		e.carry(c, b, mib, flow.Ragged)
		e.ended(c, "done")
	}
}

func transparentRefused(e *env) {
	e.Unprivileged = true
	e.launch(e.configure(app(front, e.backends(1, flow.Hold), keys{"Transparent": true})))
	e.Until("the daemon gives up", e.daemon.Exited)
	if said := e.daemon.Tail(); e.daemon.ExitCode() == 0 || !strings.Contains(said, "CAP_NET_ADMIN") {
		e.Failf("promised an error that names the capability, it said %s", said)
	}
	e.daemon = nil
}
