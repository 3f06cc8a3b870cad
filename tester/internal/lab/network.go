// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Device is the name of the device by which client and backend reach the proxy.
const Device = "proxy"

// IP runs commands of ip(8) for the namespace.
func (n *NS) IP(commands ...string) error {
	_, err := run(strings.Join(commands, "\n")+"\n", "ip", "-n", n.Name, "-batch", "-")
	return err
}

// IPOf runs commands of ip(8) that are about one family.
func (n *NS) IPOf(family int, commands ...string) error {
	_, err := run(strings.Join(commands, "\n")+"\n", "ip", fmt.Sprintf("-%d", family), "-n", n.Name, "-batch", "-")
	return err
}

// Disturb has a device of the namespace's treat what it sends as a section of test/bpf/lossy.bpf.c says,
// whose object file is given. HTB's class 1:2 is the slow one that the program knows of.
func (n *NS) Disturb(device, object, section string) error {
	n.Calm(device)
	commands := strings.ReplaceAll(`qdisc add dev DEV clsact
qdisc add dev DEV root handle 1: htb default 1
class add dev DEV parent 1: classid 1:1 htb rate 20gbit quantum 60000
class add dev DEV parent 1: classid 1:2 htb rate 20mbit
filter add dev DEV egress bpf da obj OBJECT sec tc/SECTION
`, "DEV", device)
	commands = strings.ReplaceAll(strings.ReplaceAll(commands, "OBJECT", object), "SECTION", section)
	_, err := run(commands, "tc", "-n", n.Name, "-batch", "-")
	return err
}

// Calm ends what Disturb has begun, if it has.
func (n *NS) Calm(device string) {
	for _, qdisc := range []string{"root", "clsact"} {
		_, _ = run("", "tc", "-n", n.Name, "qdisc", "del", "dev", device, qdisc)
	}
}

// Sysctl sets one of the namespace's, e.g. net/ipv4/tcp_sack, and returns what puts the old value back.
func (n *NS) Sysctl(key, value string) (undo func(), err error) {
	var was []byte
	path := filepath.Join("/proc/sys", key)
	write := func(text []byte) error {
		return n.do(func() error { return os.WriteFile(path, text, 0) })
	}
	err = n.do(func() (err error) {
		was, err = os.ReadFile(path)
		return err
	})
	if err == nil {
		err = write([]byte(value))
	}
	return func() { _ = write(was) }, err
}

// Devices is the names of the namespace's network devices.
func (n *NS) Devices() (names []string, err error) {
	out, err := run("", "ip", "-n", n.Name, "-brief", "link")
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names, err
}

// Queued is the bytes that the namespace's established TCP sockets hold: not read yet, or not
// acknowledged.
func (n *NS) Queued() (bytes int64, err error) {
	const established = 1
	for _, table := range []string{"tcp", "tcp6"} {
		var text []byte
		err = n.do(func() (err error) {
			text, err = os.ReadFile("/proc/thread-self/net/" + table)
			return err
		})
		if err != nil {
			return 0, err
		}
		for _, line := range strings.Split(string(text), "\n")[1:] {
			var slot, local, remote string
			var state, sending, received int64
			_, err := fmt.Sscanf(line, "%s %s %s %x %x:%x", &slot, &local, &remote, &state, &sending, &received)
			if err == nil && state == established {
				bytes += sending + received
			}
		}
	}
	return bytes, nil
}

// AddRouter puts a namespace between new addresses of client (FirstHost in FarNet) and proxy (ProxyHost
// in NearNet), with the devices "far" and "near"; theirs are called "router".
func (l *Lab) AddRouter() (router *NS, err error) {
	router = &NS{Name: strings.TrimSuffix(l.Proxy.Name, "p") + "r"}
	steps := []func() error{
		router.create,
		func() error {
			return router.IP("link add far type veth peer name router netns "+l.Client.Name,
				"link add near type veth peer name router netns "+l.Proxy.Name)
		},
		func() error { return router.attach("far", FarNet, RouterHost, RouterHost) },
		func() error { return router.attach("near", NearNet, RouterHost, RouterHost) },
		func() error { return l.Client.attach("router", FarNet, FirstHost, FirstHost) },
		func() error { return l.Proxy.attach("router", NearNet, ProxyHost, ProxyHost) },
		func() error { return l.Client.IP(routes(NearNet, FarNet)...) },
		func() error { return l.Proxy.IP(routes(FarNet, NearNet)...) },
	}
	for _, step := range steps {
		if err == nil {
			err = step()
		}
	}
	for _, key := range []string{"net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding"} {
		if err == nil {
			_, err = router.Sysctl(key, "1")
		}
	}
	return router, err
}

// routes lead to a network behind the router, from one that it is in.
func routes(to, from int) []string {
	return []string{
		fmt.Sprintf("route add %s/24 via %s congctl cubic", Addr(4, to, 0), Addr(4, from, RouterHost)),
		fmt.Sprintf("route add %s/64 via %s congctl cubic", Addr(6, to, 0), Addr(6, from, RouterHost)),
	}
}

// RemoveRouter takes it away again, its devices at client and proxy, and what was learned of the way.
func (l *Lab) RemoveRouter(router *NS) {
	router.remove()
	l.ForgetPaths()
}

// ForgetPaths has everybody forget what he has learned about the MTU of a way.
func (l *Lab) ForgetPaths() {
	for _, ns := range l.all() {
		for _, family := range []string{"-4", "-6"} {
			_, _ = run("", "ip", "-n", ns.Name, family, "route", "flush", "cache")
		}
	}
}
