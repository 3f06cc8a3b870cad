// SPDX-License-Identifier: MIT

package flow

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"sync"
	"time"

	"shunt/tester/internal/lab"
)

// Hub is the backends of one trial, their connections by token, and what else is to be closed with
// them.
type Hub struct {
	Deadline time.Time

	mu      sync.Mutex
	conns   map[uint64]*Conn
	closers []io.Closer
	closed  bool
}

// Handler is what a backend does with a connection.
type Handler func(h *Hub, c *Conn)

// Hold reads the token and leaves the rest to whoever takes the connection from the hub.
func Hold(h *Hub, c *Conn) {
	token, err := c.ReadToken()
	if err != nil {
		c.Close()
		return
	}
	h.put(token, c)
}

// Echo sends back everything, the token too, and ends its stream where the client ends the other.
func Echo(h *Hub, c *Conn) {
	defer c.Close()
	token, err := c.ReadToken()
	if err != nil {
		return
	}
	h.put(token, c)
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, token)); err != nil {
		return
	}
	// A small buffer of its own: thousands of connections may wait here.
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Greet speaks first, as an SMTP or a MySQL server does: it is the backend that makes up and sends
// the token.
func Greet(h *Hub, c *Conn) {
	token := rand.Uint64()
	h.put(token, c)
	_, _ = c.Write(binary.BigEndian.AppendUint64(nil, token)) // a client in want of it says so
}

// Backend is a listener of the hub's.
type Backend struct {
	Name string // its address

	ln net.Listener
}

// Listen starts a backend.
func (h *Hub) Listen(ns *lab.NS, addr string, handle Handler, options ...lab.Option) (*Backend, error) {
	ln, err := ns.Listen(addr, options...)
	if err != nil {
		return nil, err
	}
	return h.serve(addr, ln, handle), nil
}

// ListenUnix starts one at the path of a unix socket, or at "@name".
func (h *Hub) ListenUnix(ns *lab.NS, path string, handle Handler) (*Backend, error) {
	ln, err := ns.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	return h.serve("unix:"+path, ln, handle), nil
}

func (h *Hub) serve(addr string, ln net.Listener, handle Handler) *Backend {
	h.Own(ln)
	b := &Backend{Name: addr, ln: ln}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c := NewConn(addr, conn.(Stream), h.Deadline)
			h.Own(c)
			go handle(h, c)
		}
	}()
	return b
}

// Stop closes the listener; connections that it has accepted live on.
func (b *Backend) Stop() { b.ln.Close() }

// Take waits for the backend's end of the connection whose client sent this token.
func (h *Hub) Take(token uint64) (*Conn, error) {
	for {
		h.mu.Lock()
		c := h.conns[token]
		h.mu.Unlock()
		if c != nil {
			return c, nil
		}
		if time.Now().After(h.Deadline) {
			return nil, fmt.Errorf("the client's first bytes reached no backend")
		}
		time.Sleep(time.Millisecond)
	}
}

// Close closes all listeners and connections.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, c := range h.closers {
		c.Close()
	}
}

func (h *Hub) put(token uint64, c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		h.conns = make(map[uint64]*Conn)
	}
	h.conns[token] = c
}

// Own has c closed with the hub.
func (h *Hub) Own(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closers = append(h.closers, c)
	if h.closed {
		c.Close()
	}
}
