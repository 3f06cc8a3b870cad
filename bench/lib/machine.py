# SPDX-License-Identifier: MIT
"""What it was measured on, and with which versions of everything."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path


def said(pattern, *command):
    """What a command's output has where the pattern has its group; "none" without either."""
    try:
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=10)
    except OSError:
        return "none"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "none"


def describe(args):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "cpu": f"{cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "shunt": said(r"(\S+)\s*$", args.build / "shunt", "--version"),
        "haproxy": said(r"version (\S+)", "haproxy", "-v"),
        "nginx": said(r"nginx/(\S+)", "nginx", "-v"),
        "iperf3": said(r"iperf (\S+)", "iperf3", "-v"),
        "redis": said(r"v=(\S+)", "redis-server", "--version"),
        "postgresql": said(r"\) (\S+)", "pgbench", "--version"),
        "wrk": said(r"(\d+\.\S+)", "wrk", "-v"),
        "workers": args.workers,
        "rounds": args.rounds,
        "measure_ms": args.measure_ms,
        "quick": args.quick,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
