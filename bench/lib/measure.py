# SPDX-License-Identifier: MIT
"""One measurement of one contender, of each kind: by a client in the clients' namespace.

Each function takes a Running and the run's arguments, and makes a sample: a dict with "rate", what else
is known of it ("p50_us", ...), and "work", in the unit that CPU time is told by (GB, or a million of
messages or connections).
"""

import contextlib
import json
import re
import select
import subprocess
import tempfile
import time

from lib import lab, usage
from lib.services import REDIS_VALUE_BYTES, SERVICES

IPERF_S = 1  # it takes whole seconds
WARMUP_MS = 100
IDLE_CONNECTIONS = 8000
BUSY_CONNECTIONS = 32
PGBENCH_CLIENTS, PGBENCH_TRANSACTIONS = 8, 1000  # of each client
WRK_S, WRK_CONNECTIONS = 1, 64
REDIS_CLIENTS = 50
LATENCIES = ("p50_us", "p99_us", "p999_us")


def bulk(streams, *direction):
    def sample(running, _args):
        command = lab.in_netns(lab.CLIENT, "iperf3", "-J", "-c", running.ip, "-p", SERVICES["iperf"].port,
                               "-P", streams, "-t", IPERF_S, *direction)
        end = iperf(command)["end"]
        received = [end[key] for key in ("sum_received", "sum_received_bidir_reverse") if key in end]
        return {"rate": sum(r["bits_per_second"] for r in received) / 1e9,
                "work": sum(r["bytes"] for r in received) / 1e9}
    return sample


def iperf(command):
    for _ in range(20):
        try:
            return json.loads(lab.run(*command))
        except lab.Failed as error:
            # Its server takes one test at a time, and may not have seen the end of the last one yet.
            if "busy" not in str(error):
                raise
        time.sleep(0.05)
    raise lab.Failed("iperf3's server remains busy")


def load(running, args, mode, port, size, connections, measure_ms=None):
    result = json.loads(lab.run(*lab.in_netns(
        lab.CLIENT, args.build / "shunt-load", mode, f"{running.ip}:{port}", "-c", connections,
        "-s", size, "-d", measure_ms or args.measure_ms, "-w", WARMUP_MS)))
    if not result["messages"]:
        raise lab.Failed(f"no message came back, with {result['errors']} errors")
    return {"rate": result["rate"], "work": result["all_messages"] / 1e6, "errors": result["errors"],
            **{key: result[key] for key in LATENCIES}}


def requests(size, connections):
    return lambda running, args: load(running, args, "rr", SERVICES["echo"].port, size, connections)


def churn(connections):
    return lambda running, args: load(running, args, "churn", SERVICES["echo"].port, 64, connections)


@contextlib.contextmanager
def idle_connections(running, args, port, count):
    """Silent connections that have carried a byte each, for the time of a with block."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        holder = lab.start(stack, lab.CLIENT, [args.build / "shunt-load", "idle", f"{running.ip}:{port}",
                                               "-c", count], log, output=subprocess.PIPE)
        ready, _, _ = select.select([holder.stdout], [], [], lab.RUN_TIMEOUT_S)
        if not ready or holder.stdout.readline() != "open\n":
            raise lab.Failed(f"{count} idle connections: {holder.last_words()}")
        yield


def idle(running, args):
    """The busy ones' rate while the others are there."""
    port = SERVICES["echo"].port
    with idle_connections(running, args, port, IDLE_CONNECTIONS):
        sample = load(running, args, "rr", port, 64, BUSY_CONNECTIONS)
    del sample["work"]  # CPU time is also that of the opening
    return sample


def find(pattern, text):
    """The pattern's group, in what a program has printed."""
    found = re.search(pattern, text, re.M)
    if not found:
        raise lab.Failed(f"no {pattern} in: {text[-lab.LAST_WORDS_CHARS:]}")
    return found.group(1)


def redis(pipeline, n_requests):
    def sample(running, _args):
        said = lab.run(*lab.in_netns(
            lab.CLIENT, "redis-benchmark", "-h", running.ip, "-p", SERVICES["redis"].port, "-t", "get",
            "-n", n_requests, "-c", REDIS_CLIENTS, "-P", pipeline, "-d", REDIS_VALUE_BYTES, "--csv"))
        rate, _average, _least, p50, _p95, p99, _most = map(
            float, find(r'^"GET",(.*)$', said).replace('"', "").split(","))
        return {"rate": rate, "p50_us": p50 * 1e3, "p99_us": p99 * 1e3, "work": n_requests / 1e6}
    return sample


def pgbench(running, _args):
    said = lab.run(*lab.in_netns(
        lab.CLIENT, "pgbench", "-S", "-n", "-M", "prepared", "-U", "bench", "-h", running.ip,
        "-p", SERVICES["postgres"].port, "-c", PGBENCH_CLIENTS, "-t", PGBENCH_TRANSACTIONS, "postgres"))
    return {"rate": float(find(r"^tps = ([0-9.]+)", said)),
            "work": PGBENCH_CLIENTS * PGBENCH_TRANSACTIONS / 1e6}


def wrk(running, _args):
    said = lab.run(*lab.in_netns(
        lab.CLIENT, "wrk", "-t", 1, "-c", WRK_CONNECTIONS, "-d", f"{WRK_S}s", "--latency",
        f"http://{running.ip}:{SERVICES['http'].port}/"))
    errors = re.search(r".*(Socket errors|Non-2xx).*", said)
    if errors:
        raise lab.Failed(errors.group(0).strip())
    return {"rate": float(find(r"Requests/sec:\s+([0-9.]+)", said)),
            "work": int(find(r"(\d+) requests in", said)) / 1e6,
            "p50_us": duration_us(find(r"50%\s+(\S+)", said)),
            "p99_us": duration_us(find(r"99%\s+(\S+)", said))}


def duration_us(text):
    amount, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()
    return float(amount) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def measure(row, running, args):
    clock = usage.Clock(running.process)
    sample = row.sample(running, args)
    work = sample.pop("work", None)
    return {**sample, **clock.per(work)} if work else sample
