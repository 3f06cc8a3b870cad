#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures shunt's engines side by side with HAProxy, nginx stream and no proxy at all.

Three network namespaces (client, proxy, backend) are made and removed again. All contenders run from
start to end, each on ports of its own; every round measures each row with each contender in turn, so
that what changes over time changes for all of them. See bench/README.md.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREFIX = f"shunt-bench-{os.getpid()}"
CLIENT, PROXY, BACKEND = (f"{PREFIX}-{end}" for end in "cpb")
CLIENT_IP, PROXY_IP = "10.231.1.2", "10.231.1.1"
PROXY_BACKEND_IP, BACKEND_IP = "10.231.2.1", "10.231.2.2"
ECHO_PORT, IPERF_PORT = 7000, 7001
SYSCTLS = {
    # Churn leaves tens of thousands of connections in TIME_WAIT.
    "net.ipv4.ip_local_port_range": "8192 65535",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.core.somaxconn": "4096",
}
# By route, as a namespace may only choose by sysctl what the host lets everybody use.
CONGESTION = ("congctl", "cubic")
START_TIMEOUT_S = 10
READY_PORT_OFFSET = 1000
CONNECTIONS_MAX = 4000
RATIO_TO = "haproxy"

BULK = [(f"{direction}, streams: {n}", {"streams": n, "reverse": direction == "download"})
        for direction in ("upload", "download") for n in (1, 8)]
REQUESTS = [(f"request {name}, connections: {n}", {"mode": "rr", "size": size, "connections": n})
            for name, size in (("64 B", 64), ("16 KiB", 16384)) for n in (1, 32, 256)]
CHURN = [("connect, 64 B, close, connections: 32", {"mode": "churn", "size": 64, "connections": 32})]
ROWS = BULK + REQUESTS + CHURN


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def in_netns(netns, *command):
    return ("ip", "netns", "exec", netns, *map(str, command))


def start(stack, netns, command, log):
    """Starts a process that ends with this one, and no later than the stack."""
    pr_set_pdeathsig = 1
    process = subprocess.Popen(
        in_netns(netns, *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        preexec_fn=lambda: ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM))
    stack.callback(stop, process)
    return process


def stop(process):
    # SIGINT: shunt and iperf3 stop at once, and for HAProxy and nginx it is as good as SIGTERM.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def make_link(left, left_ip, right, right_ip):
    run("ip", "-n", left, "link", "add", f"to-{right[-1]}", "type", "veth",
        "peer", "name", f"to-{left[-1]}", "netns", right)
    for netns, peer, address in ((left, right, left_ip), (right, left, right_ip)):
        run("ip", "-n", netns, "address", "add", f"{address}/24", "dev", f"to-{peer[-1]}")
        run("ip", "-n", netns, "link", "set", f"to-{peer[-1]}", "up")
        network = address.rsplit(".", 1)[0] + ".0/24"
        run("ip", "-n", netns, "route", "replace", network, "dev", f"to-{peer[-1]}", *CONGESTION)


def make_namespaces(stack):
    for netns in (CLIENT, PROXY, BACKEND):
        run("ip", "netns", "add", netns)
        stack.callback(run, "ip", "netns", "delete", netns)
        run("ip", "-n", netns, "link", "set", "lo", "up")
        for key, value in SYSCTLS.items():
            run(*in_netns(netns, "sysctl", "-q", "-w", f"{key}={value}"))
    make_link(CLIENT, CLIENT_IP, PROXY, PROXY_IP)
    make_link(PROXY, PROXY_BACKEND_IP, BACKEND, BACKEND_IP)
    run(*in_netns(PROXY, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
    run("ip", "-n", CLIENT, "route", "add", "default", "via", PROXY_IP, *CONGESTION)
    run("ip", "-n", BACKEND, "route", "add", "default", "via", PROXY_BACKEND_IP, *CONGESTION)


def wait_for_ports(netns, ports, process):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        listening = {int(line.split()[3].rsplit(":", 1)[1])
                     for line in run(*in_netns(netns, "ss", "-Hltn")).splitlines()}
        if listening.issuperset(ports):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{' '.join(process.args[4:])} does not listen on {ports}")


class Contender:
    """A way from the client to the two servers, by ports that are its own."""

    def __init__(self, name, ip, ports):
        self.name, self.ip = name, ip
        self.echo_port, self.iperf_port = ports
        self.ready_port = self.echo_port  # what is open when it is ready
        self.process = None

    def cpu_seconds(self):
        """Of the process and all its children: user and system time; None if there is no process."""
        if not self.process:
            return None
        ticks, pids = 0, [self.process.pid]
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return ticks / os.sysconf("SC_CLK_TCK")


def haproxy_command(contender, directory, args):
    sections = "\n".join(
        f"listen {name}\n  bind {PROXY_IP}:{port}\n  server backend {BACKEND_IP}:{target}"
        for name, port, target in (("echo", contender.echo_port, ECHO_PORT),
                                   ("iperf", contender.iperf_port, IPERF_PORT)))
    config = directory / "haproxy.cfg"
    config.write_text(f"""global
  nbthread {args.workers}
  maxconn {CONNECTIONS_MAX}
  tune.pipesize 1048576
  tune.bufsize 65536
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
{sections}
""")
    return ["haproxy", "-db", "-q", "-f", config]


def nginx_command(contender, directory, args):
    servers = "\n".join(
        f"  server {{ listen {PROXY_IP}:{port} reuseport; proxy_pass {BACKEND_IP}:{target}; }}"
        for port, target in ((contender.echo_port, ECHO_PORT), (contender.iperf_port, IPERF_PORT)))
    config = directory / "nginx.conf"
    config.write_text(f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes {args.workers};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections {2 * CONNECTIONS_MAX}; }}
stream {{
  proxy_buffer_size 64k;
{servers}
}}
""")
    return ["nginx", "-p", directory, "-e", directory / "nginx.log", "-c", config]


def shunt_command(contender, directory, args):
    config = directory / f"{contender.name}.json"
    # Its HTTP port is opened when all else is ready: it listens for clients before it has tried its engines.
    contender.ready_port = contender.echo_port + READY_PORT_OFFSET
    admin = {"Socket": "", "Http": contender.ready_port}
    config.write_text(json.dumps({"Log": {"Access": False}, "Admin": admin, "Apps": [
        {"Name": name, "Listen": [PROXY_IP], "Ports": [port], "Targets": [f"{BACKEND_IP}:{target}"]}
        for name, port, target in (("echo", contender.echo_port, ECHO_PORT),
                                   ("iperf", contender.iperf_port, IPERF_PORT))]}, indent=2))
    engine = contender.name.split("-")[1]
    return [args.build / "shunt", "run", "-c", config, "--engine", engine, "--workers", args.workers]


COMMANDS = {
    "direct": None,
    "haproxy": haproxy_command,
    "nginx": nginx_command,
    "shunt-copy": shunt_command,
    "shunt-splice": shunt_command,
    "shunt-wire": shunt_command,
    "shunt-auto": shunt_command,
}


def start_servers(stack, args, log):
    echo = start(stack, BACKEND, [args.build / "shunt-load", "echo", f"{BACKEND_IP}:{ECHO_PORT}",
                                  "-t", args.workers], log)
    iperf = start(stack, BACKEND, ["iperf3", "-s", "-B", BACKEND_IP, "-p", IPERF_PORT], log)
    wait_for_ports(BACKEND, {ECHO_PORT}, echo)
    wait_for_ports(BACKEND, {IPERF_PORT}, iperf)


def start_contenders(stack, args, directory, log):
    contenders = []
    for i, name in enumerate(args.contenders):
        if not COMMANDS[name]:
            contenders.append(Contender(name, BACKEND_IP, (ECHO_PORT, IPERF_PORT)))
            continue
        contender = Contender(name, PROXY_IP, (7100 + 2 * i, 7101 + 2 * i))
        command = COMMANDS[name](contender, directory, args)
        contender.process = start(stack, PROXY, command, log)
        wait_for_ports(PROXY, {contender.echo_port, contender.iperf_port, contender.ready_port}, contender.process)
        contenders.append(contender)
    return contenders


def measure_bulk(contender, what, args):
    command = in_netns(CLIENT, "iperf3", "-J", "-c", contender.ip, "-p", contender.iperf_port,
                       "-P", what["streams"], "-t", args.seconds, *(["-R"] if what["reverse"] else []))
    # iperf3's server takes one test at a time, and may not have seen the end of the last one yet.
    for _ in range(20):
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        result = json.loads(done.stdout)
        if "busy" not in result.get("error", ""):
            break
        time.sleep(0.1)
    if "error" in result:
        raise RuntimeError(f"{contender.name}: iperf3: {result['error']}")
    received = result["end"]["sum_received"]
    return {"rate": received["bits_per_second"] / 1e9, "work": received["bytes"] / 1e9}


def measure_requests(contender, what, args):
    result = json.loads(run(*in_netns(
        CLIENT, args.build / "shunt-load", what["mode"], f"{contender.ip}:{contender.echo_port}",
        "-c", what["connections"], "-s", what["size"], "-d", args.seconds, "-w", args.warmup_ms)))
    if result["errors"]:
        print(f"bench: {contender.name}: {result['errors']} errors", file=sys.stderr)
    return {"rate": result["rate"], "work": result["all_messages"] / 1e6, "errors": result["errors"],
            **{key: result[key] for key in ("p50_us", "p99_us", "p999_us", "max_us")}}


def measure(contender, what, args):
    cpu_before = contender.cpu_seconds()
    sample = (measure_bulk if "streams" in what else measure_requests)(contender, what, args)
    work = sample.pop("work")
    sample["cpu_s"] = contender.cpu_seconds() - cpu_before if contender.process and work else None
    sample["cpu_s_per_unit"] = sample["cpu_s"] / work if sample["cpu_s"] is not None else None
    return sample


def run_rounds(contenders, args):
    """{row: {contender: [a sample each round]}}"""
    samples = {row: {c.name: [] for c in contenders} for row, _ in ROWS}
    for number in range(args.rounds):
        for row, what in ROWS:
            print(f"round {number + 1} of {args.rounds}: {row}", file=sys.stderr, flush=True)
            # Another one begins each round, so that no contender always follows the same other one.
            shift = number % len(contenders)
            for contender in contenders[shift:] + contenders[:shift]:
                samples[row][contender.name].append(measure(contender, what, args))
    return samples


def machine(args):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
    return {
        "cpu": f"{cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "shunt": run(str(args.build / "shunt"), "--version").split()[-1],
        "haproxy": run("haproxy", "-v").split()[2],
        "nginx": nginx.strip().split("/")[-1],
        "iperf3": run("iperf3", "-v").split()[1],
        "workers": args.workers,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def median(samples, key):
    return statistics.median(s[key] for s in samples)


def rate_cell(of_row, name):
    rates = [s["rate"] for s in of_row[name]]
    cell = number(statistics.median(rates))
    if len(rates) > 1:
        cell += f" ({number(min(rates))}..{number(max(rates))})"
    if RATIO_TO in of_row and name != RATIO_TO:
        ratios = [a / b["rate"] for a, b in zip(rates, of_row[RATIO_TO]) if b["rate"]]
        cell += f" ×{statistics.median(ratios):.2f}" if ratios else ""
    return cell


def latency_cell(of_row, name):
    return " / ".join(number(median(of_row[name], key)) for key in ("p50_us", "p99_us"))


def cpu_cell(of_row, name):
    if of_row[name][0]["cpu_s_per_unit"] is None:
        return "-"
    return number(median(of_row[name], "cpu_s_per_unit"))


def table(title, rows, names, samples, cell):
    lines = [f"## {title}", "", "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, _ in rows:
        lines.append(f"| {row} | " + " | ".join(cell(samples[row], name) for name in names) + " |")
    return lines + [""]


def report(about, names, samples):
    lines = [f"# shunt {about['shunt']} beside HAProxy {about['haproxy']} and nginx {about['nginx']}", "",
             f"{about['cpu']}; Linux {about['kernel']}; iperf3 {about['iperf3']}; {about['workers']} workers; "
             f"{about['rounds']} rounds of {about['seconds']} s; {about['date']}. Medians, with (lowest..highest), "
             f"and the ratio to {RATIO_TO} in the same round.", ""]
    lines += table("Bulk, Gbit/s", BULK, names, samples, rate_cell)
    lines += table("Messages or connections a second", REQUESTS + CHURN, names, samples, rate_cell)
    lines += table("Latency, p50 / p99 in µs", REQUESTS + CHURN, names, samples, latency_cell)
    lines += table("CPU of the proxy, seconds a GB", BULK, names, samples, cpu_cell)
    lines += table("CPU of the proxy, seconds a million messages or connections", REQUESTS + CHURN, names,
                   samples, cpu_cell)
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=Path("build"), help="where shunt and shunt-load are")
    parser.add_argument("--quick", action="store_true", help="one short round: under two minutes")
    parser.add_argument("--rounds", type=int, help="of all rows (3)")
    parser.add_argument("--seconds", type=int, help="of each measurement (2)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads of each proxy (one a core)")
    parser.add_argument("--contenders", default=",".join(COMMANDS), help="which ones (%(default)s)")
    args = parser.parse_args()
    args.contenders = args.contenders.split(",")
    if not set(args.contenders) <= set(COMMANDS):
        parser.error(f"contenders are: {', '.join(COMMANDS)}")
    if os.geteuid() != 0:
        parser.error("needs root, for network namespaces: sudo make bench")
    args.build = args.build.resolve()
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.seconds = args.seconds or (1 if args.quick else 2)
    args.warmup_ms = 200 if args.quick else 500
    return args


def interrupted(signum, _frame):
    raise SystemExit(128 + signum)


def main():
    args = parse_arguments()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    about = machine(args)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PREFIX}-")))
        log_path = directory / "log"
        log = stack.enter_context(log_path.open("w"))
        try:
            make_namespaces(stack)
            start_servers(stack, args, log)
            samples = run_rounds(start_contenders(stack, args, directory, log), args)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"bench: {error}\n{getattr(error, 'stderr', '') or ''}{log_path.read_text()[-2000:]}",
                  file=sys.stderr)
            return 1
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    text = report(about, args.contenders, samples)
    (results / "latest.json").write_text(json.dumps({"about": about, "samples": samples}, indent=1) + "\n")
    (results / "latest.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
