// SPDX-License-Identifier: MIT

// Package program runs programs that know nothing of the tester. Each has a PID namespace of its own, in
// which it is the first process: when it ends, or is ended, so does all that it has started. The IPC
// namespace is its own, too, so that no shared memory is left of one that was killed.
package program

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Program is a running program, or one that has exited.
type Program struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer // to be read after the exit only
	exited         chan struct{}
	err            error
}

// Start starts the command.
func Start(cmd *exec.Cmd) (*Program, error) {
	p := &Program{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Exited says whether the program is gone.
func (p *Program) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Kill ends the program at once, with all that it has started, and waits for its end.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.exited
}

// Wait waits for the program's end, which the deadline brings about, and returns what it has printed. An
// exit status other than 0 is an error.
func (p *Program) Wait(deadline time.Time) (stdout string, err error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	late := false
	select {
	case <-p.exited:
	case <-timer.C:
		late = true
		p.Kill()
	}
	if p.err != nil {
		err = fmt.Errorf("%s: %w\n%s\n%s", p.cmd, p.err, tail(p.stdout.Bytes()), tail(p.stderr.Bytes()))
		if late {
			err = fmt.Errorf("ended, since it took too long: %w", err)
		}
	}
	return p.stdout.String(), err
}

// tail is the end of what a program has printed.
func tail(text []byte) []byte {
	const most = 2000
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return bytes.TrimSpace(text)
}

// Find is the path of a program, which may lie where its package keeps those that are not for everybody: a
// pattern, as of filepath.Match. The newest version is the last one in the alphabet.
func Find(name, patterns string) (path string, err error) {
	found, err := filepath.Glob(filepath.Join(patterns, name))
	if err == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	return exec.LookPath(name)
}
