// SPDX-License-Identifier: MIT

package sockapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Receiver is a way to receive.
type Receiver struct {
	Name     string
	receive  func(s *Socket, got func([]byte)) error
	AtMark   bool // the mark of urgent data stops it, or it knows nothing of it
	NeedsTCP bool // it may see nothing of what a BPF program has put into the socket
}

// Receivers is all ways to receive.
var Receivers = []Receiver{
	{"recv", recv, false, false},
	{"recv of few bytes", recvFew, false, false},
	{"recv with a stop", recvStopping, false, false},
	{"MSG_WAITALL", recvAll, false, true},
	{"readv", readv, false, false},
	{"MSG_PEEK", peek, false, false},
	{"FIONREAD", countFirst, true, true},
	{"poll", pollFirst, false, false},
	{"select", selectFirst, false, false},
	{"epoll, level-triggered", epollLevel, false, false},
	{"epoll, edge-triggered", epollEdge, false, false},
	{"splice into a pipe", spliceIn, true, true},
}

// Receive gives to got what it receives, up to the end of the stream.
func (w Receiver) Receive(s *Socket, got func([]byte)) error {
	err := s.prepare()
	if err == nil {
		err = w.receive(s, got)
	}
	if err != nil {
		err = fmt.Errorf("receiving by %s: %w", w.Name, err)
	}
	return err
}

// toEnd gives to got what a step receives, until that is the end of the stream.
func toEnd(got func([]byte), step func() ([]byte, error)) error {
	for {
		p, err := step()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		got(p)
	}
}

// take receives into a buffer, or returns io.EOF at the end of the stream.
func (s *Socket) take(buf []byte, flags int) ([]byte, error) {
	n, err := s.call("recv", pollIn, func() (int, error) {
		n, _, err := syscall.Recvfrom(s.FD, buf, flags)
		return n, err
	})
	return taken(buf, n, err)
}

// takeNow does so without waiting: the error is EAGAIN if there is nothing.
func (s *Socket) takeNow(buf []byte) ([]byte, error) {
	n, _, err := syscall.Recvfrom(s.FD, buf, syscall.MSG_DONTWAIT)
	return taken(buf, n, os.NewSyscallError("recv", err))
}

func taken(buf []byte, n int, err error) ([]byte, error) {
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// takeExactly does so with bytes of which it is known that they are there.
func (s *Socket) takeExactly(buf []byte) ([]byte, error) {
	p, err := s.takeNow(buf)
	if err == nil && len(p) != len(buf) {
		err = fmt.Errorf("of %d bytes that are there, recv got %d", len(buf), len(p))
	}
	return p, err
}

func buffer() []byte { return make([]byte, 1<<pieceBitsMax) }

// recv is also what the ways go on with that differ at the beginning only.
func recv(s *Socket, got func([]byte)) error {
	buf := buffer()
	return toEnd(got, func() ([]byte, error) { return s.take(buf[:piece(len(buf))], 0) })
}

// recvFew leaves segments half read, a byte or two at a time.
func recvFew(s *Socket, got func([]byte)) error {
	buf := buffer()
	calls := 0
	return toEnd(got, func() ([]byte, error) {
		const few = 200
		if calls++; calls < few {
			return s.take(buf[:1+calls%7], 0)
		}
		return s.take(buf, 0)
	})
}

// recvStopping stops after the first bytes.
func recvStopping(s *Socket, got func([]byte)) error {
	const pause = 50 * time.Millisecond
	p, err := s.take(make([]byte, 100), 0)
	if err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	got(p)
	time.Sleep(pause)
	return recv(s, got)
}

func recvAll(s *Socket, got func([]byte)) error {
	buf := buffer()
	return toEnd(got, func() ([]byte, error) { return s.take(buf[:piece(len(buf))], syscall.MSG_WAITALL) })
}

func readv(s *Socket, got func([]byte)) error {
	buf := buffer()
	return toEnd(got, func() ([]byte, error) {
		n, err := s.call("readv", pollIn, func() (int, error) { return s.vectored(syscall.SYS_READV, vector(buf)) })
		return taken(buf, n, err)
	})
}

// peek looks at what there is before it takes it, and wants both to be the same.
func peek(s *Socket, got func([]byte)) error {
	looked, buf := buffer(), buffer()
	return toEnd(got, func() ([]byte, error) {
		seen, err := s.take(looked, syscall.MSG_PEEK)
		if err != nil {
			return nil, err
		}
		p, err := s.takeExactly(buf[:len(seen)])
		if err == nil && !bytes.Equal(p, seen) {
			err = fmt.Errorf("the %d bytes that were peeked at are not those that recv got", len(seen))
		}
		return p, err
	})
}

// takeIfAny takes what there is, if there is anything. A socket is also ready for what is not the
// receiver's, a notice in its error queue.
func (s *Socket) takeIfAny(buf []byte) ([]byte, error) {
	p, err := s.takeNow(buf)
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return p, err
}

// countFirst asks how much there is, and takes just that.
func countFirst(s *Socket, got func([]byte)) error {
	return toEnd(got, func() ([]byte, error) {
		told, err := s.poll(pollIn)
		if err != nil {
			return nil, err
		}
		n, err := s.Unread()
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return s.takeExactly(make([]byte, n))
		}
		p, err := s.takeIfAny(make([]byte, 1))
		if len(p) > 0 && told&pollIn != 0 {
			err = fmt.Errorf("the socket is readable, FIONREAD counts no byte, and recv gets one")
		}
		return p, err
	})
}

func pollFirst(s *Socket, got func([]byte)) error {
	buf := buffer()
	return toEnd(got, func() ([]byte, error) {
		if _, err := s.poll(pollIn); err != nil {
			return nil, err
		}
		return s.takeIfAny(buf[:piece(len(buf))])
	})
}

func selectFirst(s *Socket, got func([]byte)) error {
	buf := buffer()
	return toEnd(got, func() ([]byte, error) {
		var set syscall.FdSet
		word, bit := s.FD/64, s.FD%64
		if word >= len(set.Bits) {
			return nil, fmt.Errorf("select(2) has no bit for descriptor %d", s.FD)
		}
		set.Bits[word] = 1 << bit
		bound := syscall.NsecToTimeval(s.Patience.Nanoseconds())
		n, err := syscall.Select(s.FD+1, &set, nil, nil, &bound)
		if err := s.waited("select", n, err); err != nil {
			return nil, err
		}
		return s.takeIfAny(buf[:piece(len(buf))])
	})
}

// waited judges what a call that waits has returned.
func (s *Socket) waited(name string, ready int, err error) error {
	switch {
	case err == syscall.EINTR:
		return nil
	case err != nil:
		return os.NewSyscallError(name, err)
	case ready == 0:
		return fmt.Errorf("%s: nothing for %v", name, s.Patience)
	}
	return nil
}

// epollLevel takes a part of what there is each time that it is told.
func epollLevel(s *Socket, got func([]byte)) error {
	buf := buffer()
	return s.withEpoll(syscall.EPOLLIN, func(wait func() error) error {
		return toEnd(got, func() ([]byte, error) {
			if err := wait(); err != nil {
				return nil, err
			}
			return s.takeIfAny(buf[:piece(len(buf))])
		})
	})
}

// epollEdge takes all there is, up to EAGAIN, before it waits for more.
func epollEdge(s *Socket, got func([]byte)) error {
	buf := buffer()
	const edge = 1 << 31 // syscall.EPOLLET is a negative number on some architectures
	return s.withEpoll(syscall.EPOLLIN|syscall.EPOLLRDHUP|edge, func(wait func() error) error {
		return toEnd(got, func() ([]byte, error) {
			p, err := s.takeNow(buf[:piece(len(buf))])
			if errors.Is(err, syscall.EAGAIN) {
				err = wait()
			}
			return p, err
		})
	})
}

// withEpoll gives f what waits for the events.
func (s *Socket) withEpoll(events uint32, f func(wait func() error) error) error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer syscall.Close(epoll)
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, s.FD, &syscall.EpollEvent{Events: events})
	if err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return f(func() error {
		n, err := syscall.EpollWait(epoll, make([]syscall.EpollEvent, 1), int(s.Patience.Milliseconds()))
		return s.waited("epoll_wait", n, err)
	})
}

func spliceIn(s *Socket, got func([]byte)) error {
	pipe, err := newPipe()
	if err != nil {
		return err
	}
	defer pipe.close()
	buf := buffer()
	return toEnd(got, func() ([]byte, error) {
		n, err := s.call("splice", pollIn, func() (int, error) { return splice(s.FD, pipe.in, piece(len(buf))) })
		if err != nil || n == 0 {
			return taken(buf, n, err)
		}
		n, err = syscall.Read(pipe.out, buf[:n])
		return taken(buf, n, os.NewSyscallError("read from a pipe", err))
	})
}
