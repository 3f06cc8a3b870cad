// SPDX-License-Identifier: MIT

package sockapi

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

// Sender is a way to send.
type Sender struct {
	Name string
	send func(s *Socket, p []byte) error
}

// Senders is all ways to send that change nothing about the stream.
var Senders = []Sender{
	{"write", write},
	{"writev", writev},
	{"MSG_MORE", more},
	{"TCP_CORK", cork},
	{"MSG_ZEROCOPY", zeroCopy},
	{"sendfile", sendfile},
	{"splice from a pipe", spliceOut},
}

// Urgent sends a byte in the middle as urgent data. A receiver that is to get it in its place needs Inline.
var Urgent = Sender{"MSG_OOB", urgent}

// Send sends all of p.
func (w Sender) Send(s *Socket, p []byte) error {
	err := s.prepare()
	if err == nil {
		err = w.send(s, p)
	}
	if err != nil {
		err = fmt.Errorf("sending by %s: %w", w.Name, err)
	}
	return err
}

// inPieces gives p to f piece by piece, and again what f has not taken.
func (s *Socket) inPieces(name string, p []byte, f func(piece []byte, last bool) (int, error)) error {
	for len(p) > 0 {
		size := piece(len(p))
		n, err := s.call(name, pollOut, func() (int, error) { return f(p[:size], size == len(p)) })
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func write(s *Socket, p []byte) error {
	return s.inPieces("write", p, func(piece []byte, _ bool) (int, error) { return syscall.Write(s.FD, piece) })
}

func writev(s *Socket, p []byte) error {
	for len(p) > 0 {
		n, err := s.call("writev", pollOut, func() (int, error) { return s.vectored(syscall.SYS_WRITEV, vector(p)) })
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func more(s *Socket, p []byte) error {
	const msgMore = 0x8000
	return s.inPieces("sendmsg", p, func(piece []byte, last bool) (int, error) {
		flags := msgMore
		if last {
			flags = 0
		}
		return syscall.SendmsgN(s.FD, piece, nil, nil, flags)
	})
}

func cork(s *Socket, p []byte) error {
	if err := s.set(syscall.IPPROTO_TCP, syscall.TCP_CORK, 1); err != nil {
		return err
	}
	if err := write(s, p); err != nil {
		return err
	}
	return s.set(syscall.IPPROTO_TCP, syscall.TCP_CORK, 0)
}

func urgent(s *Socket, p []byte) error {
	at := len(p) / 2
	if err := write(s, p[:at]); err != nil {
		return err
	}
	_, err := s.call("sendmsg", pollOut, func() (int, error) {
		return syscall.SendmsgN(s.FD, p[at:at+1], nil, nil, syscall.MSG_OOB)
	})
	if err != nil {
		return err
	}
	return write(s, p[at+1:])
}

// Inline has urgent data received in its place, as any other.
func (s *Socket) Inline() error { return s.set(syscall.SOL_SOCKET, syscall.SO_OOBINLINE, 1) }

// zeroCopy returns when the kernel has no more use for p, which it says in the socket's error queue.
func zeroCopy(s *Socket, p []byte) error {
	if err := s.set(syscall.SOL_SOCKET, soZeroCopy, 1); err != nil {
		return err
	}
	pending := 0
	err := s.inPieces("sendmsg", p, func(piece []byte, _ bool) (int, error) {
		n, err := syscall.SendmsgN(s.FD, piece, nil, nil, msgZeroCopy)
		if err == nil {
			pending++
		} else if err == syscall.ENOBUFS { // as many notices are due as the socket may have
			done, err := s.released()
			pending -= done
			if err != nil {
				return 0, err
			}
			return 0, syscall.EINTR // again
		}
		return n, err
	})
	for err == nil && pending > 0 {
		var done int
		done, err = s.released()
		pending -= done
	}
	return err
}

// released waits for a notice in the error queue, and returns how many sends it is about: a range, of
// struct sock_extended_err (linux/errqueue.h).
func (s *Socket) released() (sends int, err error) {
	const originAt, firstAt, lastAt, size = 4, 8, 12, 16
	const originZeroCopy = 5
	if _, err := s.poll(0); err != nil { // the queue shows as POLLERR, which is not to be asked for
		return 0, err
	}
	control := make([]byte, 256)
	_, length, _, _, err := syscall.Recvmsg(s.FD, nil, control, syscall.MSG_ERRQUEUE)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return 0, s.failed() // POLLERR may have been another error, which sending will not tell any more
	} else if err != nil {
		return 0, os.NewSyscallError("recvmsg", err)
	}
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		if len(m.Data) < size || m.Data[originAt] != originZeroCopy {
			return 0, fmt.Errorf("another message than MSG_ZEROCOPY's in the error queue: %+v", m)
		}
		first, last := binary.LittleEndian.Uint32(m.Data[firstAt:]), binary.LittleEndian.Uint32(m.Data[lastAt:])
		sends += int(last - first + 1)
	}
	return sends, nil
}

// failed is the socket's pending error.
func (s *Socket) failed() error {
	code, err := syscall.GetsockoptInt(s.FD, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	return err
}

func sendfile(s *Socket, p []byte) error {
	file, err := os.CreateTemp("", "shunt-tester-")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	if _, err := file.Write(p); err != nil {
		return err
	}
	offset := int64(0)
	return s.inPieces("sendfile", p, func(piece []byte, _ bool) (int, error) {
		return syscall.Sendfile(s.FD, int(file.Fd()), &offset, len(piece))
	})
}

func spliceOut(s *Socket, p []byte) error {
	pipe, err := newPipe()
	if err != nil {
		return err
	}
	defer pipe.close()
	for len(p) > 0 {
		n, err := syscall.Write(pipe.in, p[:piece(len(p))])
		if err != nil {
			return os.NewSyscallError("write to a pipe", err)
		}
		p = p[n:]
		for n > 0 {
			moved, err := s.call("splice", pollOut, func() (int, error) { return splice(pipe.out, s.FD, n) })
			if err != nil {
				return err
			}
			n -= moved
		}
	}
	return nil
}

// pipe is one that holds any piece.
type pipe struct{ out, in int }

func newPipe() (pipe, error) {
	var ends [2]int
	err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC)
	return pipe{ends[0], ends[1]}, os.NewSyscallError("pipe2", err)
}

func (p pipe) close() {
	syscall.Close(p.out)
	syscall.Close(p.in)
}

func splice(from, to, most int) (int, error) {
	n, err := syscall.Splice(from, nil, to, nil, most, 0)
	return int(n), err
}
