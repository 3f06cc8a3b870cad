// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cgroup is a cgroup (version 2) of the lab's, for who is to be told apart from others on this host. A socket
// belongs to the cgroup that its maker was in; one that is accepted, to its listener's.
type Cgroup struct {
	Path string // as other mount namespaces see it, too
	home string // where the tester is else
}

// ErrNoCgroups says that this host has no hierarchy of version 2.
var ErrNoCgroups = errors.New("no cgroup2 hierarchy is mounted")

// Cgroup makes the lab's, if it is not there yet, in the root of the hierarchy. It goes with the lab.
func (l *Lab) Cgroup() (*Cgroup, error) {
	if l.cgroup != nil {
		return l.cgroup, nil
	}
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	c := &Cgroup{home: root}
	for _, line := range strings.Split(string(own), "\n") {
		if path := strings.TrimPrefix(line, "0::"); path != line {
			c.home = filepath.Join(root, path)
		}
	}
	c.Path = filepath.Join(fmt.Sprintf("/proc/%d/root", os.Getpid()), root, filepath.Base(l.Dir))
	l.cgroup = c
	return c, os.Mkdir(c.Path, 0o755)
}

func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", ErrNoCgroups
}

// Within has the whole tester be in it while f runs, and what f starts for good.
func (c *Cgroup) Within(f func()) (err error) {
	if err = enter(c.Path); err != nil {
		return err
	}
	defer func() { err = enter(c.home) }()
	f()
	return nil
}

func enter(cgroup string) error {
	return os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(fmt.Sprint(os.Getpid())), 0o644)
}

// removeCgroup removes a lab's, if there is one; who was in it may take a moment to be gone.
func removeCgroup(name string) {
	const tries, pause = 100, 10 * time.Millisecond
	root, err := cgroupRoot()
	if err != nil {
		return
	}
	for i := 0; i < tries && errors.Is(os.Remove(filepath.Join(root, name)), syscall.EBUSY); i++ {
		time.Sleep(pause)
	}
}
