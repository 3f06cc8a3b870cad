#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures shunt's engines side by side with HAProxy, nginx stream and no proxy at all.

All contenders run from start to end; every round measures each row with each of its contenders in
turn, so that what changes over time changes for all of them. Then come the runs that are about
starting, reloading and growing. What does not work is left out, and the report says why. See
bench/README.md.
"""

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from lib import lab, machine, measure, report, scale, services
from lib.contenders import CONTENDERS, MAIN, App, Running
from lib.rows import ROWS
from lib.services import SERVICES



FAILURES = (lab.Failed, OSError, ValueError, KeyError)


class Bench:
    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.begun = time.monotonic()
        self.rows = [row for row in ROWS if args.rows in row.name and (row.quick or not args.quick)]
        self.samples = {row.name: {} for row in self.rows}
        self.left_out, self.repeated = {}, {}  # what: why
        self.ways = {}

    def progress(self, text):
        print(f"{time.monotonic() - self.begun:4.0f} s  {text}", file=sys.stderr, flush=True)

    def leave_out(self, what, why):
        self.progress(f"{what} is left out: {why}")
        self.left_out[what] = str(why)

    def make_lab(self, stack):
        lab.make_ends(stack)
        for number, name in enumerate(self.args.contenders, 1):
            self.ways[name] = lab.Way(stack, number)

    def start_services(self, stack):
        """Those that rows need; rows whose service does not start are left out."""
        for name in ["echo", *sorted({row.needs for row in self.rows} - {"echo"})]:
            try:
                services.start(stack, SERVICES[name], self.directory / name, self.args)
            except (lab.Failed, OSError) as error:
                self.leave_out(name, error)
                self.rows = [row for row in self.rows if row.needs != name]

    def start_contenders(self, stack):
        running = {}
        for name, way in self.ways.items():
            apps = [App(s.name, s.port, (f"{way.backend_ip}:{s.port}",)) for s in SERVICES.values()]
            contender = Running(CONTENDERS[name], way, apps, self.args)
            try:
                with contextlib.ExitStack() as own:
                    contender.start(own, self.directory / name.replace("/", "-"))
                    stack.push(own.pop_all())
                running[name] = contender
            except (lab.Failed, OSError) as error:
                self.leave_out(name, error)
        return running

    def measure(self, row, running):
        """One sample. A contender that fails in a row twice is left out of it from then on."""
        what = f"{running.name}: {row.name}"
        if what in self.left_out or running.name in self.left_out:
            return
        try:
            sample = self.measure_again(row, running, what)
        except FAILURES as error:
            ended = running.process and running.process.poll() is not None
            self.leave_out(running.name if ended else what, error)
            self.samples[row.name].pop(running.name, None)
            return
        if sample.get("errors"):
            self.progress(f"{what}: {sample['errors']} errors")
        self.samples[row.name].setdefault(running.name, []).append(sample)

    def measure_again(self, row, running, what):
        """A sample, at the second try if the first one fails; which is told."""
        try:
            return measure.measure(row, running, self.args)
        except FAILURES as error:
            self.progress(f"{what}, again: {error}")
            self.repeated[what] = str(error)
            return measure.measure(row, running, self.args)

    def run_rounds(self, running):
        for number in range(self.args.rounds):
            for row in self.rows:
                self.progress(f"round {number + 1} of {self.args.rounds}: {row.name}")
                names = [name for name in row.contenders if name in running]
                # Another one begins each round, so that no contender always follows the same other one.
                shift = number % len(names) if names else 0
                for name in names[shift:] + names[:shift]:
                    self.measure(row, running[name])

    def run(self):
        """The whole document."""
        with contextlib.ExitStack() as stack:
            self.make_lab(stack)
            self.start_services(stack)
            with contextlib.ExitStack() as contenders:
                self.run_rounds(self.start_contenders(contenders))
            grown = scale.run(self) if self.args.scale else {}
        about = machine.describe(self.args)
        about["took_s"] = round(time.monotonic() - self.begun)
        return {"about": about, "left_out": self.left_out, "repeated": self.repeated,
                "samples": self.samples, "scale": grown}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=Path("build"), help="where shunt and shunt-load are")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: under two minutes")
    parser.add_argument("--rounds", type=int, help="of all rows (5; 2 if quick)")
    parser.add_argument("--measure-ms", type=int, default=250, help="of a request load (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads of each proxy (one a core)")
    parser.add_argument("--contenders", help=f"of {','.join(CONTENDERS)} (all; {','.join(MAIN)} if quick)")
    parser.add_argument("--rows", default="", help="only rows whose name has this text in it")
    parser.add_argument("--no-scale", dest="scale", action="store_false",
                        help="without the runs about starting, reloading and growing")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder")
    parser.add_argument("--redraw", action="store_true", help="tables and pictures of the last run anew")
    args = parser.parse_args()
    args.contenders = args.contenders.split(",") if args.contenders else MAIN if args.quick else list(CONTENDERS)
    if not set(args.contenders) <= set(CONTENDERS):
        parser.error(f"contenders are: {', '.join(CONTENDERS)}")
    if os.geteuid() != 0 and not args.redraw:
        parser.error("needs root, for network namespaces: sudo make bench")
    args.build = args.build.resolve()
    args.rounds = args.rounds or (2 if args.quick else 5)
    return args


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(signum, _frame):
    # Another one must not end the cleaning up.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def run(args):
    for signum in SIGNALS:
        signal.signal(signum, interrupted)
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    with tempfile.TemporaryDirectory(prefix=f"{lab.PREFIX}-") as directory:
        os.chmod(directory, 0o711)  # for servers that are not root
        return Bench(args, Path(directory)).run()


def main():
    args = parse_arguments()
    try:
        if not args.redraw:
            report.write(args.results, run(args))
        print(report.draw(args.results))
    except (lab.Failed, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
