// SPDX-License-Identifier: MIT

// Package lab makes the network that the tests run in: a client, a proxy and a backend namespace,
// joined by two veth pairs, with names of their own. Nothing outside the namespaces is touched but
// /etc/netns/<ours>, a folder of temporary files and a cgroup, and all of it goes away with Close, or
// at the next start if this process is killed.
package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// EchoHost is the name that config.json's targets have; the proxy's namespace resolves it to
// Backend 2.
const EchoHost = "tcp-echo.fly.dev"

// Networks, and host numbers within them (see Addr).
const (
	ClientNet, BackendNet = 1, 2
	FarNet, NearNet       = 3, 4 // on the two sides of a router: see AddRouter

	ProxyHost  = 1   // the proxy's address in a network
	FirstHost  = 2   // the first client, the first backend
	LastHost   = 9   // the last of them
	BlackHole  = 99  // frames to it reach the backend namespace and belong to nobody there
	RouterHost = 254 // the router, if there is one
)

// backendMAC is fixed so that the black hole can have a static neighbour entry.
const backendMAC = "02:5b:00:00:02:02"

// The socket buffers' sizes are part of what slow_reader_is_bounded promises, so they do not follow
// the kernel's defaults.
var sysctls = map[string]string{
	"net/ipv4/tcp_rmem":                "4096 131072 4194304",
	"net/ipv4/tcp_wmem":                "4096 65536 2097152",
	"net/ipv6/conf/all/accept_dad":     "0",
	"net/ipv6/conf/default/accept_dad": "0",
}

// Lab is the three namespaces and the folder for temporary files.
type Lab struct {
	Client, Proxy, Backend *NS
	Dir                    string

	cgroup *Cgroup // nil: nobody has asked for it
	once   sync.Once
}

// Addr is the literal address of a host in one of the networks.
func Addr(family, network, host int) string {
	if family == 6 {
		return fmt.Sprintf("fd91:%d::%d", network, host)
	}
	return fmt.Sprintf("10.91.%d.%d", network, host)
}

// New removes what dead testers left and builds the lab. On an error nothing is left behind.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("network namespaces need root")
	}
	removeLeftovers()
	prefix := fmt.Sprintf("shunt-%d-", os.Getpid())
	l := &Lab{
		Client: &NS{Name: prefix + "c"}, Proxy: &NS{Name: prefix + "p"}, Backend: &NS{Name: prefix + "b"},
		Dir: filepath.Join(os.TempDir(), strings.TrimSuffix(prefix, "-")),
	}
	if err := l.build(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) build() error {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return err
	}
	for _, ns := range l.all() {
		if err := ns.create(); err != nil {
			return err
		}
	}
	pairs := []string{
		"link add clients type veth peer name proxy netns " + l.Client.Name,
		"link add backends type veth peer name proxy address " + backendMAC + " netns " + l.Backend.Name,
	}
	if err := l.Proxy.IP(pairs...); err != nil {
		return err
	}
	if err := l.Client.attach("proxy", ClientNet, FirstHost, LastHost); err != nil {
		return err
	}
	if err := l.Backend.attach("proxy", BackendNet, FirstHost, LastHost); err != nil {
		return err
	}
	if err := l.Proxy.attach("clients", ClientNet, ProxyHost, ProxyHost); err != nil {
		return err
	}
	if err := l.Proxy.attach("backends", BackendNet, ProxyHost, ProxyHost); err != nil {
		return err
	}
	for _, family := range []int{4, 6} {
		err := l.Proxy.IP(fmt.Sprintf("neigh replace %s lladdr %s dev backends nud permanent",
			Addr(family, BackendNet, BlackHole), backendMAC))
		if err != nil {
			return err
		}
	}
	return l.SetFamily(4)
}

// SetFamily gives EchoHost an address of this family, for daemons that start from now on.
func (l *Lab) SetFamily(family int) error {
	dir := filepath.Join("/etc/netns", l.Proxy.Name)
	err := os.MkdirAll(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) { // another tester has removed its parent in between: see Close
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", Addr(family, BackendNet, FirstHost), EchoHost)
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644); err != nil {
		return err
	}
	resolv := []byte("nameserver 127.0.0.1\n")
	return os.WriteFile(filepath.Join(dir, "resolv.conf"), resolv, 0o644)
}

// Close ends what still runs in the namespaces and removes everything. It may be called more than
// once.
func (l *Lab) Close() {
	l.once.Do(func() {
		for _, ns := range l.all() {
			ns.remove()
		}
		if l.cgroup != nil {
			_ = enter(l.cgroup.home) // when it is interrupted within
			removeCgroup(filepath.Base(l.Dir))
		}
		removeDir(l.Dir)
		os.Remove("/etc/netns") // only if it is empty
	})
}

func (l *Lab) all() []*NS { return []*NS{l.Client, l.Proxy, l.Backend} }

// bpffsIn is where MountBPF mounts.
func bpffsIn(dir string) string { return filepath.Join(dir, "bpf") }

// MountBPF mounts an empty bpffs in the lab's folder, for pins. With undo all that is pinned goes.
func (l *Lab) MountBPF() (path string, undo func(), err error) {
	path = bpffsIn(l.Dir)
	if err = os.MkdirAll(path, 0o755); err == nil {
		err = syscall.Mount("bpf", path, "bpf", 0, "")
	}
	return path, func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) }, err
}

func removeDir(dir string) {
	_ = syscall.Unmount(bpffsIn(dir), syscall.MNT_DETACH) // nothing is mounted, as a rule
	os.RemoveAll(dir)
}

// removeLeftovers takes away the namespaces and files of testers that were killed before they
// could.
func removeLeftovers() {
	ours := regexp.MustCompile(`^shunt-(\d+)(-[cpbr])?$`)
	for _, dir := range []string{"/run/netns", "/etc/netns", os.TempDir()} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			m := ours.FindStringSubmatch(e.Name())
			if m == nil {
				continue
			}
			pid, err := strconv.Atoi(m[1])
			if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
				continue
			}
			if m[2] != "" {
				(&NS{Name: e.Name()}).remove()
			} else if dir == os.TempDir() {
				removeCgroup(e.Name())
				removeDir(filepath.Join(dir, e.Name()))
			}
		}
	}
}

func run(stdin string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
