// SPDX-License-Identifier: MIT

// Package against judges any proxy that stands before an echo server, from the client's side alone
// and in the namespace that it is started in.
package against

import (
	"net"
	"time"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/trial"
)

const bound = 120 * time.Second

type echo struct {
	*trial.T
	addr string
}

var table = []struct {
	name, promise string
	run           func(*echo)
}{
	{"bytes_are_exact_both_ways",
		"32 MB in 4 connections, both directions at once, chunks of 1 B to 1 MiB and pauses, arrive exact", (*echo).exact},
	{"bytes_survive_half_close",
		"after the client's half-close all of the echo arrives, and then the end", (*echo).halfClose},
	{"many_at_once", "1,000 connections are open together and each one works", (*echo).many},
	{"churn", "2,000 connections come and go, ended by FIN and by RST, and each one works", (*echo).churn},
}

// Run puts the proxy at addr to the test.
func Run(addr string, report *trial.Report) {
	for _, row := range table {
		report.Add("against", row.name, row.promise, trial.Run(bound, func(t *trial.T) { row.run(&echo{t, addr}) }))
	}
}

func (e *echo) dial() *flow.Conn {
	d := net.Dialer{Deadline: e.Deadline}
	tcp, err := d.Dial("tcp", e.addr)
	e.Must(err)
	c := flow.NewConn("client", tcp.(*net.TCPConn), e.Deadline)
	e.Defer(func() { c.Close() })
	return c
}

func (e *echo) exact() {
	e.Parallel(4, 4, func(int) {
		c := e.dial()
		e.Must(c.Ask(4<<20, flow.Ragged))
		e.Must(c.Echoed())
	})
}

func (e *echo) halfClose() {
	c := e.dial()
	received := e.Go(func() { e.Must(c.RecvToEOF(flow.Ragged)) })
	e.Must(c.Send(8<<20, flow.Steady))
	e.Must(c.CloseWrite())
	received()
	e.Must(c.Echoed())
}

func (e *echo) many() {
	clients := make([]*flow.Conn, 1000)
	e.Parallel(len(clients), 64, func(i int) {
		clients[i] = e.dial()
		e.Must(clients[i].Ask(100, flow.Steady))
	})
	e.Parallel(len(clients), 64, func(i int) {
		e.Must(clients[i].Ask(1000, flow.Steady))
		e.Must(clients[i].Echoed())
	})
}

func (e *echo) churn() {
	e.Parallel(2000, 32, func(i int) {
		c := e.dial()
		e.Must(c.Ask(500, flow.Steady))
		e.Must(c.Echoed())
		if i%2 == 0 {
			e.Must(c.Reset())
		} else {
			e.Must(c.Close())
		}
	})
}
