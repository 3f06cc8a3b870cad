// SPDX-License-Identifier: MIT

package lab

import "syscall"

// Of linux/tcp.h; package syscall does not have them.
const (
	tcpRepair      = 19
	tcpRepairQueue = 20
	tcpQueueSeq    = 21
	sendQueue      = 2
)

// Option sets something on a TCP socket before it connects or listens.
type Option func(fd int) error

// ReceiveBuffer bounds what a reader who does not read is sent.
func ReceiveBuffer(bytes int) Option {
	return func(fd int) error {
		return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
	}
}

// SpeakWithLastACK has the handshake's last ACK wait for the first bytes, and go with them.
func SpeakWithLastACK(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0)
}

// FirstSequence is the initial sequence number, of a socket that will connect.
func FirstSequence(number uint32) Option {
	return func(fd int) error {
		for _, o := range [][2]int{{tcpRepair, 1}, {tcpRepairQueue, sendQueue},
			{tcpQueueSeq, int(int32(number))}, {tcpRepair, 0}} {
			if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, o[0], o[1]); err != nil {
				return err
			}
		}
		return nil
	}
}

// control is the options as package net wants them.
func control(options []Option) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			for _, set := range options {
				if err == nil {
					err = set(int(fd))
				}
			}
		})
		if err == nil {
			err = failed
		}
		return err
	}
}
