// SPDX-License-Identifier: MIT

package scenario

import (
	"fmt"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/lab"
)

// ends is where both ends of the trial's connections live.
func (e *env) ends() []*lab.NS { return []*lab.NS{e.lab.Client, e.lab.Backend} }

// disturb has both ends' networks do what a section of lossy.bpf.c says to all that is sent, until the
// next such call or the end of the trial.
func (e *env) disturb(section string) {
	for _, ns := range e.ends() {
		ns := ns
		e.Defer(func() { ns.Calm(lab.Device) })
		e.Must(ns.Disturb(lab.Device, e.Lossy, section))
	}
}

// segments bounds how many segments go down to a device, at either end, as one packet.
func (e *env) segments(most int) {
	const standard = 65535
	for _, ns := range e.ends() {
		ns := ns
		set := func(n int) error { return ns.IP(fmt.Sprintf("link set dev %s gso_max_segs %d", lab.Device, n)) }
		e.Defer(func() { _ = set(standard) }) // the device is gone if the lab is
		e.Must(set(most))
	}
}

// trouble is a section of lossy.bpf.c, and how much each of its connections is to carry.
type trouble struct {
	section string
	each    int64
}

// troubled carries bytes in packets of all sizes, and in single segments, through each trouble.
func (e *env) troubled(conns int, troubles ...trouble) {
	const large, single = 64, 1
	e.start(app(front, e.backends(2, flow.Hold), nil))
	for _, segments := range []int{large, single} {
		e.segments(segments)
		for _, t := range troubles {
			e.disturb(t.section)
			e.Parallel(conns, conns, func(int) {
				c, b := e.pair(front)
				e.carry(c, b, t.each, flow.Ragged)
				e.ended(c, "done")
			})
		}
	}
}

func loss(e *env) {
	e.troubled(4, trouble{"loss_1_in_1000", 4 * mib}, trouble{"loss_1_in_100", 2 * mib}, trouble{"loss_5_in_100", mib / 4})
}

func disorder(e *env) { e.troubled(4, trouble{"disorder", mib}) }

// tinyWindows has both ends take little at a time, and nothing at all for a while.
func tinyWindows(e *env) {
	const buffer, each = 8192, mib
	small := lab.ReceiveBuffer(buffer)
	e.start(app(front, []string{e.listen(e.at(1), flow.Hold, small).Name}, nil))
	c, b := e.pair(front, small)
	waits := []func(){}
	for _, end := range []*flow.Conn{c, b} {
		end := end
		waits = append(waits, e.Go(func() {
			e.Must(end.Send(each, flow.Steady))
			e.Must(end.CloseWrite())
		}))
	}
	stuck := e.standstill(func() int64 { return c.Sent() + b.Sent() })
	for _, end := range []*flow.Conn{c, b} {
		end := end
		waits = append(waits, e.Go(func() { e.Must(end.RecvToEOF(flow.Ragged)) }))
	}
	for _, wait := range waits {
		wait()
	}
	e.Must(flow.Match(c, b))
	e.ended(c, "done")
	e.Sawf("%d bytes both ways through windows of %d, after a stall at %d", 2*each, buffer, stuck)
}

// announce has one end of a link announce that it takes segments of this size only.
func (e *env) announce(ns *lab.NS, device string, network, bytes int) {
	set := func(advmss string) error {
		text := "route replace %s/24 dev %s %s congctl cubic"
		if e.family == 6 {
			text = "route replace %s/64 dev %s metric 256 %s congctl cubic"
		}
		return ns.IP(fmt.Sprintf(text, lab.Addr(e.family, network, 0), device, advmss))
	}
	e.Defer(func() { _ = set("") }) // the device is gone if the lab is
	e.Must(set(fmt.Sprintf("advmss %d", bytes)))
}

// smallSegments has the client alone announce them, then everybody, then the backend alone: that is too
// late, since the client was told that it may send larger ones.
func smallSegments(e *env) {
	const small, standard = 536, 1440
	e.offWire = true
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.announce(e.lab.Client, lab.Device, lab.ClientNet, small)
	e.served(e.dial(front), "")
	e.announce(e.lab.Backend, lab.Device, lab.BackendNet, small)
	e.announce(e.lab.Proxy, "clients", lab.ClientNet, small)
	e.served(e.dial(front), "")
	e.announce(e.lab.Proxy, "clients", lab.ClientNet, standard)
	e.served(e.dial(front), "the backend takes only smaller segments")
}

// shrinkingPath puts a router between, whose link to the client gets too narrow for what was agreed: that
// it says to the proxy, and the backend has to hear of it.
func shrinkingPath(e *env) {
	const narrow = 1300
	router, err := e.lab.AddRouter()
	e.Defer(func() { e.lab.RemoveRouter(router) })
	e.Must(err)
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	c, err := e.dialFrom(e.lab.Client, lab.Addr(e.family, lab.FarNet, lab.FirstHost), lab.NearNet, front)
	e.Must(err)
	b := e.meet(c)
	e.exchange(c, b, mib)
	for device, ns := range map[string]*lab.NS{"far": router, "router": e.lab.Client} {
		e.Must(ns.IP(fmt.Sprintf("link set dev %s mtu %d", device, narrow)))
	}
	e.carry(c, b, 2*mib, flow.Ragged)
	e.ended(c, "done")
	passed := e.shunt("status")[0].Packets.ICMP
	if passed == 0 {
		e.Failf("no ICMP error was passed on")
	}
	e.Sawf("%d ICMP errors passed on", passed)
}

// narrowLink has a link of the proxy's own be narrower than what its ends have announced to each other: no
// router is there to say so. From the start the backend is told; later, whoever sends too much.
func narrowLink(e *env) {
	const narrow, standard = 1300, 1500
	router, err := e.lab.AddRouter()
	e.Defer(func() { e.lab.RemoveRouter(router) })
	e.Must(err)
	e.serveAdmin()
	e.start(app(front, e.backends(1, flow.Hold), nil))
	type end struct {
		ns     *lab.NS
		device string
	}
	width := func(link []end, mtu int) {
		for _, at := range link {
			e.Must(at.ns.IP(fmt.Sprintf("link set dev %s mtu %d", at.device, mtu)))
		}
	}
	toClient := []end{{e.lab.Proxy, "router"}, {router, "near"}}
	toBackend := []end{{e.lab.Proxy, "backends"}, {e.lab.Backend, lab.Device}}
	e.Defer(func() { width(toBackend, standard) })
	trials := []struct {
		link     []end
		at       int64 // how much was carried before
		segments int
	}{{toClient, 0, 1}, {toClient, 0, 64}, {toClient, mib, 1}, {toClient, mib, 64}, {toBackend, mib, 1}, {toBackend, mib, 64}}
	answered := int64(0)
	for _, t := range trials {
		e.lab.ForgetPaths()
		e.segments(t.segments)
		if t.at == 0 {
			width(t.link, narrow)
		}
		c, err := e.dialFrom(e.lab.Client, lab.Addr(e.family, lab.FarNet, lab.FirstHost), lab.NearNet, front)
		e.Must(err)
		b := e.meet(c)
		if t.at > 0 {
			e.exchange(c, b, t.at)
			width(t.link, narrow)
		}
		e.carry(c, b, 2*mib, flow.Ragged)
		e.ended(c, "done")
		before := answered
		answered = e.shunt("status")[0].Packets.TooBig
		if t.at == 0 && answered > before {
			e.Failf("the backend was not told how small its segments have to be: %d packets were too big", answered-before)
		}
		if t.at > 0 && answered == before {
			e.Failf("a link has become narrow, and nothing was too big for it")
		}
		width(t.link, standard)
	}
	e.Sawf("%d times; %d packets were too big, and whoever had sent them was told", len(trials), answered)
}
