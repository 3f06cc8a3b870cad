// SPDX-License-Identifier: MIT

// Package flow is the traffic: TCP connections that keep a checksum of everything they send and
// receive, and the backends at their other ends. Both ends of a proxied connection live in this
// process, so a test can drive either end and compare what one sent with what the other got. To
// find the two ends of one connection, the client's first eight bytes are a token.
package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"sync"
	"syscall"
	"time"
)

// TokenSize is the length of the token that a client sends first.
const TokenSize = 8

// Style is how a stream is cut into calls of read and write.
type Style int

const (
	// Steady: 64 KiB at a time, without pauses.
	Steady Style = iota
	// Ragged: 1 byte to 1 MiB at a time, each power of two as likely as another, with pauses.
	Ragged
)

const chunkMax = 1 << 20

// noise is what the streams are made of: each chunk is a piece of it from a random offset.
var noise = func() []byte {
	b := make([]byte, 4*chunkMax)
	rand.New(rand.NewSource(1)).Read(b)
	return b
}()

var buffers = sync.Pool{New: func() any { b := make([]byte, chunkMax); return &b }}

func (s Style) chunk(most int64) int {
	n := int64(64 << 10)
	if s == Ragged {
		n = 1 << rand.Intn(20)
		n += rand.Int63n(n + 1)
		if rand.Intn(16) == 0 {
			time.Sleep(time.Duration(rand.Intn(2000)) * time.Microsecond)
		}
	}
	if most < n {
		n = most
	}
	return int(n)
}

// Stream is a connection of TCP, or of a unix socket.
type Stream interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// Conn is one end of a connection. One goroutine may read while another one writes.
type Conn struct {
	Name   string // who this end is, for messages: "client", or a backend's address
	Header Header // of the PROXY protocol, that a backend has got first

	stream  Stream
	in, out tally
}

// NewConn wraps a connection; no call on it lasts beyond the deadline.
func NewConn(name string, stream Stream, deadline time.Time) *Conn {
	_ = stream.SetDeadline(deadline) // fails only on a closed connection, and then the next call says so
	return &Conn{Name: name, stream: stream}
}

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.stream.Read(p)
	c.in.add(p[:n])
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return n, err
}

// Write counts the bytes before it sends them, so that nobody can have got what is not counted.
func (c *Conn) Write(p []byte) (int, error) {
	c.out.add(p)
	n, err := c.stream.Write(p)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return n, err
}

// SendToken sends a new token.
func (c *Conn) SendToken() (uint64, error) {
	token := rand.Uint64()
	_, err := c.Write(binary.BigEndian.AppendUint64(nil, token))
	return token, err
}

// ReadToken reads the other end's token.
func (c *Conn) ReadToken() (uint64, error) {
	var b [TokenSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// Send sends n random bytes.
func (c *Conn) Send(n int64, s Style) error {
	for n > 0 {
		size := s.chunk(n)
		offset := rand.Intn(len(noise) - size)
		if _, err := c.Write(noise[offset : offset+size]); err != nil {
			return err
		}
		n -= int64(size)
	}
	return nil
}

// Recv reads exactly n bytes.
func (c *Conn) Recv(n int64, s Style) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for want := n; n > 0; {
		got, err := c.Read((*buf)[:s.chunk(n)])
		n -= int64(got)
		if err == io.EOF {
			return fmt.Errorf("%s: end of stream after %d of %d bytes", c.Name, want-n, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// RecvToEOF reads to the end of the stream.
func (c *Conn) RecvToEOF(s Style) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		if _, err := c.Read((*buf)[:s.chunk(chunkMax)]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// RecvReset reads until the connection is reset; the end of the stream, or anything else, is an
// error.
func (c *Conn) RecvReset() error {
	err := c.RecvToEOF(Steady)
	switch {
	case err == nil:
		return fmt.Errorf("%s: promised a reset, saw the end of the stream", c.Name)
	case !errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("promised a reset, saw: %w", err)
	}
	return nil
}

// Control has f work on the connection's descriptor, which stays open as long as f does.
func (c *Conn) Control(f func(fd int) error) error {
	raw, err := c.stream.SyscallConn()
	if err == nil {
		closed := raw.Control(func(fd uintptr) { err = f(int(fd)) })
		if err == nil {
			err = closed
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return err
}

// SendBy has a function of the descriptor send n random bytes.
func (c *Conn) SendBy(send func(fd int, p []byte) error, n int) error {
	offset := rand.Intn(len(noise) - n)
	p := noise[offset : offset+n]
	c.out.add(p)
	return c.Control(func(fd int) error { return send(fd, p) })
}

// RecvBy has a function of the descriptor receive, and tell what it got.
func (c *Conn) RecvBy(recv func(fd int, got func([]byte)) error) error {
	return c.Control(func(fd int) error { return recv(fd, c.in.add) })
}

// Ask sends n bytes to an echo and reads n bytes back; that they are the same is for Echoed to say.
func (c *Conn) Ask(n int64, s Style) error {
	sent := make(chan error, 1)
	go func() { sent <- c.Send(n, s) }()
	if err := c.Recv(n, s); err != nil {
		return err
	}
	return <-sent
}

// Echoed compares what came back to this end with what it sent.
func (c *Conn) Echoed() error {
	if err := compare(&c.out, &c.in); err != nil {
		return fmt.Errorf("%s's echo: %w", c.Name, err)
	}
	return nil
}

// Match compares both directions of a connection at its two ends.
func Match(a, b *Conn) error {
	if err := compare(&a.out, &b.in); err != nil {
		return fmt.Errorf("%s to %s: %w", a.Name, b.Name, err)
	}
	if err := compare(&b.out, &a.in); err != nil {
		return fmt.Errorf("%s to %s: %w", b.Name, a.Name, err)
	}
	return nil
}

// Sent is the number of bytes given to write, Received the number of bytes read.
func (c *Conn) Sent() int64     { return c.out.len() }
func (c *Conn) Received() int64 { return c.in.len() }

// Local is this end's own address, Remote the one that it is connected to.
func (c *Conn) Local() string  { return c.stream.LocalAddr().String() }
func (c *Conn) Remote() string { return c.stream.RemoteAddr().String() }

// KeepAlive has the kernel probe the peer after each idle period, however short.
func (c *Conn) KeepAlive(period time.Duration) error {
	return c.stream.(*net.TCPConn).SetKeepAlivePeriod(period)
}

// CloseWrite half-closes, Close closes, Reset closes with a RST.
func (c *Conn) CloseWrite() error { return c.stream.CloseWrite() }
func (c *Conn) Close() error      { return c.stream.Close() }
func (c *Conn) Reset() error {
	if err := c.stream.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return c.stream.Close()
}
