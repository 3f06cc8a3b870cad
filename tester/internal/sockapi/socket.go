// SPDX-License-Identifier: MIT

// Package sockapi is the ways that Linux has to send and to receive on a TCP socket, each by the
// system calls themselves, as the runtime would choose its own. They work on blocking and on
// non-blocking sockets, and differ in nothing but how: a sender sends all that it is given, a
// receiver goes on to the end of the stream. None waits longer than the socket's Patience.
package sockapi

import (
	"fmt"
	"math/rand"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Of linux/poll.h, linux/socket.h and asm-generic/ioctls.h; package syscall does not have them.
const (
	pollIn  = 0x001
	pollOut = 0x004

	soZeroCopy  = 60
	msgZeroCopy = 0x4000000

	fionread = 0x541b
)

// pieceBitsMax bounds the pieces that a stream is cut into: 1 B to 32 KiB, each power of two as likely as
// another.
const pieceBitsMax = 15

// Socket is a connected TCP socket.
type Socket struct {
	FD       int
	Blocking bool
	Patience time.Duration // how long to wait before it counts as an error
}

// prepare sets the descriptor's mode, and how long a call on it may block.
func (s *Socket) prepare() error {
	if err := syscall.SetNonblock(s.FD, !s.Blocking); err != nil {
		return err
	}
	bound := syscall.NsecToTimeval(s.Patience.Nanoseconds())
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(s.FD, syscall.SOL_SOCKET, option, &bound); err != nil {
			return err
		}
	}
	return nil
}

// call makes a system call until it is not put off any more. EAGAIN is for non-blocking sockets
// alone, which then wait for the event.
func (s *Socket) call(name string, event int16, f func() (int, error)) (n int, err error) {
	for {
		n, err = f()
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN && !s.Blocking:
			if _, err := s.poll(event); err != nil {
				return 0, err
			}
		case err != nil:
			return n, os.NewSyscallError(name, err)
		default:
			return n, nil
		}
	}
}

// poll waits for an event, or for a state that poll(2) always tells of, and returns all that it tells. It
// is ppoll(2), since not every architecture has the older one.
func (s *Socket) poll(event int16) (told int16, err error) {
	wanted := struct {
		fd           int32
		events, told int16
	}{fd: int32(s.FD), events: event}
	for end := time.Now().Add(s.Patience); ; {
		bound := syscall.NsecToTimespec(int64(time.Until(end)))
		if bound.Sec < 0 || bound.Nsec < 0 {
			bound = syscall.Timespec{}
		}
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&wanted)), 1,
			uintptr(unsafe.Pointer(&bound)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return 0, os.NewSyscallError("ppoll", errno)
		case n == 0:
			return 0, fmt.Errorf("poll: no event %#x for %v", event, s.Patience)
		default:
			return wanted.told, nil
		}
	}
}

// Unread is how many bytes wait to be read.
func (s *Socket) Unread() (int, error) {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s.FD), fionread, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, os.NewSyscallError("ioctl FIONREAD", errno)
	}
	return int(n), nil
}

func (s *Socket) set(level, option, value int) error {
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(s.FD, level, option, value))
}

// piece is how many of n bytes go into the next call.
func piece(n int) int {
	size := 1 << rand.Intn(pieceBitsMax)
	size += rand.Intn(size + 1)
	if n < size {
		return n
	}
	return size
}

// vector parts a buffer into pieces for readv(2) and writev(2).
func vector(p []byte) (list []syscall.Iovec) {
	const most = 16
	for len(p) > 0 && len(list) < most {
		size := piece(len(p))
		v := syscall.Iovec{Base: &p[0]}
		v.SetLen(size)
		list = append(list, v)
		p = p[size:]
	}
	return list
}

// vectored makes readv(2) or writev(2).
func (s *Socket) vectored(number uintptr, list []syscall.Iovec) (int, error) {
	n, _, errno := syscall.Syscall(number, uintptr(s.FD), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
