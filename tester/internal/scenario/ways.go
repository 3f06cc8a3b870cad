// SPDX-License-Identifier: MIT

package scenario

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"shunt/tester/internal/flow"
	"shunt/tester/internal/sockapi"
)

// callBound is how long a call on a socket may wait: none does for long.
const callBound = 20 * time.Second

// waysAtATime bounds how many connections are open together, each with four threads that may be in a
// call.
const waysAtATime = 8

// way is how one direction of a connection is sent and received.
type way struct {
	sender   sockapi.Sender
	receiver sockapi.Receiver
	blocking bool
}

func (w way) String() string {
	mode := "non-blocking"
	if w.blocking {
		mode = "blocking"
	}
	return fmt.Sprintf("%s to %s, %s", w.sender.Name, w.receiver.Name, mode)
}

func (w way) socket(fd int) *sockapi.Socket {
	return &sockapi.Socket{FD: fd, Blocking: w.blocking, Patience: callBound}
}

// send sends n bytes and the end of the stream.
func (w way) send(c *flow.Conn, n int) error {
	err := c.SendBy(func(fd int, p []byte) error { return w.sender.Send(w.socket(fd), p) }, n)
	if err == nil {
		err = c.CloseWrite()
	}
	return err
}

func (w way) receive(c *flow.Conn) error {
	return c.RecvBy(func(fd int, got func([]byte)) error { return w.receiver.Receive(w.socket(fd), got) })
}

// move carries n bytes and the end of the stream from one end to the other.
func (w way) move(from, to *flow.Conn, n int) error {
	sent := make(chan error, 1)
	go func() { sent <- w.send(from, n) }()
	received := w.receive(to)
	for _, err := range []error{received, <-sent} {
		if err != nil {
			return fmt.Errorf("%v: %w", w, err)
		}
	}
	return nil
}

// waysBothWays opens a connection for each way, and has the client send in it, and the backend in the one
// that is as far from the list's end.
func (e *env) waysBothWays(ways []way, n int, prepare func(c *flow.Conn)) {
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.Parallel(len(ways), waysAtATime, func(i int) {
		up, down := ways[i], ways[len(ways)-1-i]
		down.blocking = up.blocking // of an end's two directions there is one socket
		c, b := e.pair(front)
		prepare(c)
		prepare(b)
		back := e.Go(func() { e.Must(down.move(b, c, n)) })
		e.Must(up.move(c, b, n))
		back()
		if err := flow.Match(c, b); err != nil {
			e.Failf("up by %v, down by %v: %w", up, down, err)
		}
		e.ended(c, "done")
	})
	e.Sawf("%d connections of 2 x %d bytes", len(ways), n)
}

// modes is whether sockets may be blocking. Not if they are bypassed: there a blocking call that another
// thread's send, or the own FIN's acknowledgement, wakes up returns EAGAIN.
func (e *env) modes() []bool {
	if e.engine == bypass {
		return []bool{false}
	}
	return []bool{true, false}
}

// receivers is the ways to receive that there are on a connection.
func (e *env) receivers() (ways []sockapi.Receiver) {
	for _, r := range sockapi.Receivers {
		if e.engine != bypass || !r.NeedsTCP {
			ways = append(ways, r)
		}
	}
	return ways
}

// everyWay is each sender with each receiver.
func everyWay(e *env) {
	const each = 150000 // more than fits on the way while a reader stops
	var ways []way
	for _, s := range sockapi.Senders {
		for _, r := range e.receivers() {
			for _, blocking := range e.modes() {
				ways = append(ways, way{s, r, blocking})
			}
		}
	}
	e.waysBothWays(ways, each, func(*flow.Conn) {})
}

// urgentData goes from both ends to whoever is able to get past it.
func urgentData(e *env) {
	const each = 20000
	var ways []way
	for _, r := range e.receivers() {
		if !r.AtMark {
			for _, blocking := range e.modes() {
				ways = append(ways, way{sockapi.Urgent, r, blocking})
			}
		}
	}
	e.waysBothWays(ways, each, func(c *flow.Conn) {
		e.Must(c.Control(func(fd int) error { return (&sockapi.Socket{FD: fd}).Inline() }))
	})
}

// everyWayIsReset ends connections the hard way while the other end waits in each way.
func everyWayIsReset(e *env) {
	const untilItWaits = 5 * time.Millisecond
	var ways []way
	for _, r := range e.receivers() {
		for _, blocking := range e.modes() {
			ways = append(ways, way{receiver: r, blocking: blocking})
		}
	}
	endings := []struct {
		name string
		end  func(ending, other *flow.Conn)
	}{
		{"RST", func(ending, _ *flow.Conn) { e.Must(ending.Reset()) }},
		{"close with unread bytes", func(ending, other *flow.Conn) {
			const bytes = 1000
			e.Must(other.Send(bytes, flow.Steady))
			e.Until("the bytes are there to be read", func() bool { return e.unread(ending, bytes+1) == bytes })
			e.Must(ending.Close())
		}},
	}
	e.start(app(front, e.backends(1, flow.Hold), nil))
	e.Parallel(2*len(endings)*len(ways), waysAtATime, func(i int) {
		w, ending := ways[i/4], endings[i/2%2]
		c, b := e.pair(front)
		ends, reason := []*flow.Conn{c, b}, "client_reset"
		if i%2 == 1 {
			ends, reason = []*flow.Conn{b, c}, "backend_reset"
		}
		told := make(chan error, 1)
		go func() { told <- w.receive(ends[1]) }()
		time.Sleep(untilItWaits)
		ending.end(ends[0], ends[1])
		if err := <-told; !errors.Is(err, syscall.ECONNRESET) {
			e.Failf("promised that %s is told of a %s as of a reset, it was: %v", w.receiver.Name, ending.name, err)
		}
		e.ended(c, reason)
	})
	e.Sawf("%d resets", 2*len(endings)*len(ways))
}

// unread is how many bytes wait at one end, most at most. FIONREAD does not know all of a bypassed one's.
func (e *env) unread(c *flow.Conn, most int) (n int) {
	e.Must(c.Control(func(fd int) (err error) {
		n, _, err = syscall.Recvfrom(fd, make([]byte, most), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if errors.Is(err, syscall.EAGAIN) {
			n, err = 0, nil
		}
		return err
	}))
	return n
}
