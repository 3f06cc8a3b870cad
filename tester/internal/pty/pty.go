// SPDX-License-Identifier: MIT

// Package pty runs a program on a terminal of the tester's own, and sees what it shows. It knows as
// much of terminals as shunt top needs: a screen is written from its first line to its last.
package pty

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

const home = "\x1b[H" // every screen begins with it

// styles is what a screen has in it beside text.
var styles = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// Terminal is a pseudo terminal with a program on it.
type Terminal struct {
	master *os.File
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	output strings.Builder
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// Start starts the command on a terminal of this size.
func Start(cmd *exec.Cmd, width, height int) (*Terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var number, unlocked int32
	if err := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		return nil, err
	}
	if err := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked)); err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	t := &Terminal{master: master, cmd: cmd, exited: make(chan struct{})}
	if err := t.Resize(width, height); err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go t.read()
	return t, nil
}

// read takes the output until the program has ended: then the terminal has no other end (EIO).
func (t *Terminal) read() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := t.master.Read(buffer)
		t.mu.Lock()
		t.output.Write(buffer[:n])
		t.mu.Unlock()
		if err != nil {
			break
		}
	}
	_ = t.cmd.Wait() // ExitCode has what it says
	close(t.exited)
}

// Resize changes the terminal's size, of which the program hears by SIGWINCH.
func (t *Terminal) Resize(width, height int) error {
	size := [4]uint16{uint16(height), uint16(width)}
	return ioctl(t.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

// Press sends keys.
func (t *Terminal) Press(keys string) error {
	_, err := t.master.WriteString(keys)
	return err
}

// Output is everything so far, as it came.
func (t *Terminal) Output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.output.String()
}

// Screen is the lines of the last screen that is complete; none before there is one.
func (t *Terminal) Screen() []string {
	screens := strings.Split(t.Output(), home)
	if len(screens) < 3 {
		return nil
	}
	text := styles.ReplaceAllString(screens[len(screens)-2], "")
	return strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
}

// Exited says whether the program has ended.
func (t *Terminal) Exited() bool {
	select {
	case <-t.exited:
		return true
	default:
		return false
	}
}

// ExitCode is its exit status; only once it has exited.
func (t *Terminal) ExitCode() int { return t.cmd.ProcessState.ExitCode() }

// Close ends the program, if it has not ended, and the terminal.
func (t *Terminal) Close() {
	if !t.Exited() {
		_ = t.cmd.Process.Kill() // it may exit just now
		<-t.exited
	}
	t.master.Close()
}
