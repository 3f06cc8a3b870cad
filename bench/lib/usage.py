# SPDX-License-Identifier: MIT
"""What a contender and the host have used: CPU time and memory, from /proc."""

import os
import re
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """A process and all its descendants."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").iterdir():
            pids += map(int, (task / "children").read_text(encoding="ascii").split())
    return pids


def process_cpu_s(pid):
    """User and system time. What the kernel does in interrupts is not in it, nor is it for anybody."""
    ticks = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def host_cpu_s():
    """All that the host's CPUs have done: clients, proxies, backends and interrupts."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def process_memory_bytes(pid):
    """Proportional set size: what processes share is counted once."""
    rollups = (Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii") for each in tree(pid))
    return sum(int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) for text in rollups) * 1024


def kernel_memory_bytes():
    """The objects in the kernel's slabs: sockets, files, epoll entries, with those of everybody else."""
    # Slabs that a CPU keeps for itself count as full until they are given back.
    for cache in Path("/sys/kernel/slab").glob("*/shrink"):
        cache.write_text("1", encoding="ascii")
    lines = Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()[2:]  # below two of headings
    fields = (line.split() for line in lines)
    return sum(int(active) * int(size) for _name, active, _all, size, *_rest in fields)


class Clock:
    """CPU time from its making on."""

    def __init__(self, process):
        if process:
            process.check_alive()
        self.process = process
        self.host_s = host_cpu_s()
        self.process_s = process_cpu_s(process.pid) if process else None

    def per(self, work):
        """Seconds a unit of work, of the process (None if there is none) and of the host."""
        process_s = process_cpu_s(self.process.pid) - self.process_s if self.process else None
        return {"cpu_s_per_unit": None if process_s is None else process_s / work,
                "host_cpu_s_per_unit": (host_cpu_s() - self.host_s) / work}
