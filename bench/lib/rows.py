# SPDX-License-Identifier: MIT
"""The rows: what is measured, with which contenders, and by what."""

from dataclasses import dataclass
from typing import Callable

from lib import measure
from lib.contenders import ENGINES, MAIN, ONE_WORKER

EVERYBODY = MAIN + ENGINES + ONE_WORKER


@dataclass(frozen=True)
class Row:
    kind: str  # which tables and pictures it is in
    name: str
    sample: Callable
    needs: str = "echo"  # a service
    contenders: tuple = MAIN
    quick: bool = False  # also in BENCH=quick


def bulk_rows():
    more = {("up", 1): MAIN + ENGINES, ("up", 8): EVERYBODY}
    quick = (("up", 1), ("up", 8), ("down", 8))
    for direction, options in (("up", ()), ("down", ("-R",)), ("both ways", ("--bidir",))):
        for streams in (1, 8, 64):
            which = direction, streams
            yield Row("bulk", f"bulk {direction}, {streams} stream{'s' * (streams > 1)}",
                      measure.bulk(streams, *options), "iperf", more.get(which, MAIN), which in quick)


def request_rows():
    more = {(64, 32): EVERYBODY, (16384, 32): EVERYBODY}
    quick = ((64, 1), (64, 32), (16384, 32))
    for name, size in (("64 B", 64), ("1 KiB", 1024), ("16 KiB", 16384), ("256 KiB", 262144)):
        for connections in (1, 32, 256):
            which = size, connections
            yield Row("requests", f"{name} × {connections}", measure.requests(size, connections), "echo",
                      more.get(which, MAIN), which in quick)


CHURN = Row("churn", "connect, 64 B, close × 32", measure.churn(32), contenders=EVERYBODY, quick=True)
IDLE = Row("idle", f"64 B × {measure.BUSY_CONNECTIONS}, {measure.IDLE_CONNECTIONS:,} idle", measure.idle,
           quick=True)
IDLE_WITHOUT = f"64 B × {measure.BUSY_CONNECTIONS}"  # the row that IDLE is compared to
ROWS = (
    *bulk_rows(),
    *request_rows(),
    CHURN,
    IDLE,
    Row("programs", "redis-benchmark -P 1", measure.redis(1, 40_000), "redis"),
    Row("programs", "redis-benchmark -P 16", measure.redis(16, 400_000), "redis", quick=True),
    Row("programs", "pgbench -S", measure.pgbench, "postgres"),
    Row("programs", "wrk", measure.wrk, "http", quick=True),
)
