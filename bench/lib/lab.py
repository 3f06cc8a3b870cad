# SPDX-License-Identifier: MIT
"""Network namespaces, and processes in them.

One namespace has the clients, one the backends. Each contender has one of its own between them (a Way),
so that no other contender's packets meet what it puts at its devices (the wire's programs). What is
made here is undone by the ExitStack that it was given.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 5
RUN_TIMEOUT_S = 30
LAST_WORDS_CHARS = 500
PREFIX = f"shunt-bench-{os.getpid()}"
CLIENT, BACKEND = f"{PREFIX}-c", f"{PREFIX}-b"
SYSCTLS = {
    # Churn leaves tens of thousands of connections in TIME_WAIT. What listens has ports below these.
    "net.ipv4.ip_local_port_range": "16384 65535",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.core.somaxconn": "4096",
}
# By route, as a namespace may only choose by sysctl what the host lets everybody use.
CONGESTION = ("congctl", "cubic")
MANY_BACKENDS = "10.233.0.0/16"  # all of it is the backend's, too

LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something outside of this program did not work, and its text says what."""


def run(*command, timeout=RUN_TIMEOUT_S):
    """A command's standard output."""
    try:
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} took more than {timeout} s") from None
    except OSError as error:
        raise Failed(str(error)) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-LAST_WORDS_CHARS:]
        raise Failed(f"{' '.join(map(str, command))}: status {done.returncode}: {said}")
    return done.stdout


def in_netns(netns, *command):
    return ["ip", "netns", "exec", netns, *map(str, command)]


def ip(netns, *words):
    run("ip", "-n", netns, *words)


class Process(subprocess.Popen):
    """One that is in a namespace, and writes to a log."""

    netns = name = log = None

    def has_entered(self):
        """Into its namespace; before, what /proc says of it is the host's."""
        return os.stat(f"/proc/{self.pid}/ns/net").st_ino == os.stat(f"/run/netns/{self.netns}").st_ino

    def listening_ports(self):
        lines = Path(f"/proc/{self.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        fields = [line.split() for line in lines]
        return {int(f[1].split(":")[1], 16) for f in fields if f[3] == "0A"}

    def last_words(self):
        self.log.seek(0)
        return self.log.read().strip()[-LAST_WORDS_CHARS:]

    def check_alive(self):
        if self.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.returncode}: {self.last_words()}")


def start(stack, netns, command, log, output=None):
    """Starts a process that ends with this one, and no later than the stack."""
    pr_set_pdeathsig = 1
    process = Process(
        in_netns(netns, *command), stdin=subprocess.DEVNULL, stdout=output or log, stderr=log,
        text=True, start_new_session=True,
        preexec_fn=lambda: LIBC.prctl(pr_set_pdeathsig, signal.SIGTERM))
    process.netns, process.name, process.log = netns, Path(str(command[0])).name, log
    stack.callback(stop, process)
    return process


def stop(process):
    # SIGINT: shunt and iperf3 stop at once, and for the others it is as good as SIGTERM.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()


def wait_for_ports(process, ports):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if process.has_entered() and process.listening_ports().issuperset(ports):
                return
        except OSError:  # it has just ended
            pass
        process.check_alive()
        time.sleep(0.02)
    raise Failed(f"{process.name} does not listen on all of {len(ports)} ports")


def echo_once(process, ip_address, port):
    """Waits until a byte comes back to the clients, and returns when that was. The process, if there is
    one, is whom it depends on."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process:
            process.check_alive()
        with socket_in(CLIENT) as s:
            try:
                s.connect((ip_address, port))
                s.send(b"x")
                if s.recv(1):
                    return time.monotonic()
            except OSError:
                time.sleep(0.001)
    raise Failed(f"no echo from {ip_address}:{port} within {START_TIMEOUT_S} s")


def socket_in(netns):
    """A socket belongs to the namespace that it was made in."""
    clone_newnet = 0x40000000
    with open("/proc/self/ns/net", encoding="ascii") as home, \
            open(f"/run/netns/{netns}", encoding="ascii") as there:
        if LIBC.setns(there.fileno(), clone_newnet):
            raise Failed(f"setns: {os.strerror(ctypes.get_errno())}")
        try:
            made = socket.socket()
        finally:
            LIBC.setns(home.fileno(), clone_newnet)
    made.settimeout(START_TIMEOUT_S)
    return made


def make_namespace(stack, name):
    run("ip", "netns", "add", name)
    stack.callback(run, "ip", "netns", "delete", name)
    ip(name, "link", "set", "lo", "up")
    for key, value in SYSCTLS.items():
        run(*in_netns(name, "sysctl", "-q", "-w", f"{key}={value}"))


class Way:
    """A contender's namespace, and its links to the clients and to the backends."""

    def __init__(self, stack, number):
        self.netns = f"{PREFIX}-p{number}"
        self.proxy_ip = f"10.231.{number}.1"
        self.backend_ip = f"10.232.{number}.2"
        make_namespace(stack, self.netns)
        self._link(CLIENT, f"10.231.{number}", 2, 1, number)
        self._link(BACKEND, f"10.232.{number}", 2, 1, number)
        run(*in_netns(self.netns, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
        ip(CLIENT, "route", "add", f"10.232.{number}.0/24", "via", self.proxy_ip, *CONGESTION)
        ip(BACKEND, "route", "add", f"10.231.{number}.0/24", "via", f"10.232.{number}.1", *CONGESTION)
        ip(self.netns, "route", "add", MANY_BACKENDS, "via", self.backend_ip, *CONGESTION)

    def _link(self, far, network, far_host, near_host, number):
        far_device, near_device = f"to-p{number}", f"to-{far[-1]}"
        ip(far, "link", "add", far_device, "type", "veth", "peer", "name", near_device,
           "netns", self.netns)
        for netns, device, host in ((far, far_device, far_host), (self.netns, near_device, near_host)):
            ip(netns, "address", "add", f"{network}.{host}/24", "dev", device)
            ip(netns, "link", "set", device, "up")
            ip(netns, "route", "replace", f"{network}.0/24", "dev", device, *CONGESTION)


def make_ends(stack):
    for name in (CLIENT, BACKEND):
        make_namespace(stack, name)
    ip(BACKEND, "route", "add", "local", MANY_BACKENDS, "dev", "lo")
