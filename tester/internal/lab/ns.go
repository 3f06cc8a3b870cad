// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// NS is one network namespace. Sockets stay in the namespace that they were made in, so only the
// making of a socket happens on a thread that has entered it.
type NS struct {
	Name string

	file *os.File // held open for setns(2)
}

func (n *NS) create() error {
	if _, err := run("", "ip", "netns", "add", n.Name); err != nil {
		return err
	}
	var err error
	if n.file, err = os.Open(filepath.Join("/run/netns", n.Name)); err != nil {
		return err
	}
	return n.do(func() error {
		for key, value := range sysctls {
			if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// attach gives a device the addresses first to last of a network, in both families, and takes it
// up. Its routes ask for cubic, as bbr's pacing distorts what a veth pair does; the sysctl may not
// be set where the host does not allow cubic.
func (n *NS) attach(device string, network, first, last int) error {
	commands := []string{"link set lo up", "link set " + device + " up"}
	for host := first; host <= last; host++ {
		commands = append(commands,
			fmt.Sprintf("addr add %s/24 dev %s", Addr(4, network, host), device),
			fmt.Sprintf("addr add %s/64 dev %s nodad", Addr(6, network, host), device))
	}
	commands = append(commands,
		fmt.Sprintf("route replace %s/24 dev %s congctl cubic", Addr(4, network, 0), device),
		fmt.Sprintf("route replace %s/64 dev %s metric 256 congctl cubic", Addr(6, network, 0), device))
	return n.IP(commands...)
}

func (n *NS) remove() {
	pids, _ := run("", "ip", "netns", "pids", n.Name)
	for _, field := range strings.Fields(pids) {
		// Our own first thread may be in there for the moment, making a socket.
		if pid, err := strconv.Atoi(field); err == nil && pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if n.file != nil {
		n.file.Close()
	}
	_, _ = run("", "ip", "netns", "del", n.Name)
	os.RemoveAll(filepath.Join("/etc/netns", n.Name))
}

// Command is a command that will run inside the namespace, with its names; the process is the
// command's own. A limit over 0 bounds its file descriptors; unprivileged, it is nobody's, without a
// capability and without a way to get one.
func (n *NS) Command(fdLimit int, unprivileged bool, args ...string) *exec.Cmd {
	if unprivileged {
		args = append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"},
			args...)
	}
	args = append([]string{"ip", "netns", "exec", n.Name}, args...)
	if fdLimit > 0 {
		args = append([]string{"prlimit", fmt.Sprintf("--nofile=%d:%d", fdLimit, fdLimit)}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// Dial connects from inside the namespace; local may be "" or an address without a port.
func (n *NS) Dial(local, remote string, deadline time.Time, options ...Option) (conn *net.TCPConn, err error) {
	dialer := net.Dialer{Deadline: deadline, Control: control(options)}
	if local != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(local)}
	}
	err = n.do(func() error {
		c, err := dialer.Dial("tcp", remote)
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	return conn, err
}

// Listen opens a TCP listener inside the namespace.
func (n *NS) Listen(addr string, options ...Option) (ln *net.TCPListener, err error) {
	config := net.ListenConfig{Control: control(options)}
	err = n.do(func() error {
		l, err := config.Listen(context.Background(), "tcp", addr)
		if err == nil {
			ln = l.(*net.TCPListener)
		}
		return err
	})
	return ln, err
}

// DialUnix and ListenUnix do the same with unix sockets, of which only the abstract ones, "@name", are the
// namespace's.
func (n *NS) DialUnix(path string, deadline time.Time) (conn *net.UnixConn, err error) {
	err = n.do(func() error {
		c, err := (&net.Dialer{Deadline: deadline}).Dial("unix", path)
		if err == nil {
			conn = c.(*net.UnixConn)
		}
		return err
	})
	return conn, err
}

func (n *NS) ListenUnix(path string) (ln *net.UnixListener, err error) {
	err = n.do(func() error {
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	return ln, err
}

// ListenPacket opens a UDP socket inside the namespace.
func (n *NS) ListenPacket(addr string) (conn net.PacketConn, err error) {
	err = n.do(func() error {
		conn, err = net.ListenPacket("udp", addr)
		return err
	})
	return conn, err
}

var home, homeErr = os.Open("/proc/self/ns/net")

// do calls f on a thread that has entered the namespace. f makes sockets of literal addresses and
// does nothing that would move to another thread.
func (n *NS) do(f func() error) error {
	if homeErr != nil {
		return homeErr
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := setns(n.file)
		if err == nil {
			err = f()
		}
		if setns(home) == nil {
			runtime.UnlockOSThread()
		} // otherwise the thread ends with this goroutine, which is still locked to it
		done <- err
	}()
	return <-done
}

// setnsNumber is the system call's number; package syscall has it for some architectures only.
var setnsNumber = map[string]uintptr{"amd64": 308, "arm64": 268, "riscv64": 268}[runtime.GOARCH]

func setns(namespace *os.File) error {
	_, _, errno := syscall.RawSyscall(setnsNumber, namespace.Fd(), syscall.CLONE_NEWNET, 0)
	if errno != 0 {
		return os.NewSyscallError("setns", errno)
	}
	return nil
}
