# SPDX-License-Identifier: MIT
"""Starting, reloading and growing: what a proxy costs by the number of its apps, targets, connections.

The contenders of the rounds have ended; each case starts its own, on their ways.
"""

import contextlib
import json
import time

from lib import lab, measure, usage
from lib.contenders import CONTENDERS, App, Running, shunt_config
from lib.services import SERVICES

NAMES = ("haproxy", "nginx", "shunt-auto")
FIRST_PORT = 10000
START_APPS = (10, 1000, 4000)
# What grows, and how far. The first is where nothing has grown: 1 app, 1 target, 0 idle connections.
GROWTH = {"apps": (1, 10, 1000, 4000), "targets": (1, 100, 1000), "connections": (0, 1000, 5000)}
QUICK_GROWTH = {"apps": (1, 1000)}
STARTS = 3
SETTLE_S = 0.3  # what has ended is freed by RCU, after some time
CHURN_SAMPLES, CHURN_MS = 3, 150
RELOAD_APPS, RELOAD_TARGETS, RELOADS = 2000, 10, 5
REFUSED_FILES, REFUSED_APPS = 4096, 4000


def target(way, number):
    """Any number of them, which are all the echo server."""
    port = SERVICES["echo"].port
    return f"10.233.{number >> 8}.{number & 255}:{port}" if number else f"{way.backend_ip}:{port}"


def make_apps(way, n_apps, n_targets):
    targets = tuple(target(way, i) for i in range(n_targets))
    return [App(f"app-{i}", FIRST_PORT + i, targets) for i in range(n_apps)]


def make(bench, name, n_apps=1, n_targets=1):
    way = bench.ways[name]
    return Running(CONTENDERS[name], way, make_apps(way, n_apps, n_targets), bench.args)


def directory_of(bench, name):
    return bench.directory / f"scale-{name}"


@contextlib.contextmanager
def guarded(bench, what):
    try:
        yield
    except (lab.Failed, OSError, ValueError, KeyError) as error:
        bench.leave_out(what, error)


def start_once(bench, name, n_apps):
    """Seconds until the last app serves, and the memory that is used then."""
    running = make(bench, name, n_apps)
    with contextlib.ExitStack() as stack:
        # The configuration is written before the clock runs.
        begin = running.prepare(directory_of(bench, name))
        begun = time.monotonic()
        begin(stack)
        served = lab.echo_once(running.process, running.ip, running.apps[-1].port)
        return {"seconds": served - begun, "bytes": usage.process_memory_bytes(running.process.pid)}


def start_up(bench, names):
    result = {}
    for n_apps in START_APPS:
        for _ in range(1 if bench.args.quick else STARTS):
            for name in names:
                with guarded(bench, f"{name}: start with {n_apps} apps"):
                    sample = start_once(bench, name, n_apps)
                    result.setdefault(str(n_apps), {}).setdefault(name, []).append(sample)
    return result


def idle_memory(bench, name):
    """Bytes for each idle connection, of a process that has never had any, and of the kernel."""
    running = make(bench, name)
    with contextlib.ExitStack() as stack:
        running.start(stack, directory_of(bench, name))
        port = running.apps[0].port if running.process else SERVICES["echo"].port
        lab.echo_once(running.process, running.ip, port)
        before = memory(running)
        with measure.idle_connections(running, bench.args, port, measure.IDLE_CONNECTIONS):
            after = memory(running)
    process, kernel = ((a - b) / measure.IDLE_CONNECTIONS for a, b in zip(after, before))
    return {"process_bytes": process, "kernel_bytes": kernel}


def memory(running):
    time.sleep(SETTLE_S)
    return (usage.process_memory_bytes(running.process.pid) if running.process else 0,
            usage.kernel_memory_bytes())


def grown(bench, name, what, number):
    if what == "connections":
        return make(bench, name)
    return make(bench, name, **{f"n_{what}": number})


def churn_sample(bench, running):
    args = bench.args
    clock = usage.Clock(running.process)
    result = measure.load(running, args, "churn", running.apps[-1].port, 64, 32, CHURN_MS)
    return {"rate": result["rate"], **clock.per(result["work"])}


def cost(bench, names, what, number):
    """{name: [samples]} of connecting to the last app, interleaved."""
    with contextlib.ExitStack() as stack:
        all_running, samples = [], {}
        for name in names:
            with guarded(bench, f"{name}: {number} {what}"):
                running = grown(bench, name, what, number)
                running.start(stack, directory_of(bench, name))
                lab.echo_once(running.process, running.ip, running.apps[-1].port)
                if what == "connections" and number:
                    stack.enter_context(measure.idle_connections(
                        running, bench.args, running.apps[0].port, number))
                all_running.append(running)
        for _ in range(CHURN_SAMPLES):
            for running in all_running:
                with guarded(bench, f"{running.name}: connecting with {number} {what}"):
                    sample = churn_sample(bench, running)
                    samples.setdefault(running.name, []).append(sample)
        return samples


def reload_once(running, directory, change):
    """Seconds that the command takes; it answers when the new configuration is in force."""
    admin_socket = directory / "shunt.sock"
    config = shunt_config(running, admin_socket)
    change(config["Apps"])
    (directory / "shunt.json").write_text(json.dumps(config), encoding="ascii")
    begun = time.monotonic()
    lab.run(running.build / "shunt", "reload", "--socket", admin_socket)
    return time.monotonic() - begun


def replace_target(app, number):
    app["Targets"] = app["Targets"][1:] + [target(None, number)]


def reload(bench, name):
    """Of a big configuration: with one app changed, and with all of them."""
    running = make(bench, name, RELOAD_APPS, RELOAD_TARGETS)
    directory = directory_of(bench, name)
    result = {"one app changed": [], "every app changed": []}
    with contextlib.ExitStack() as stack:
        running.start(stack, directory)
        for i in range(1, RELOADS + 1):
            def change_one(apps, number=RELOAD_TARGETS + i):
                replace_target(apps[0], number)

            def change_all(apps, number=RELOAD_TARGETS + i):
                for app in apps:
                    replace_target(app, number)
            result["one app changed"].append(reload_once(running, directory, change_one))
            result["every app changed"].append(reload_once(running, directory, change_all))
    return result


def refusal(bench, name):
    """What it says when its ports are more than the limit of open files allows."""
    running = make(bench, name, REFUSED_APPS)
    with contextlib.ExitStack() as stack:
        try:
            running.start(stack, directory_of(bench, name), ("prlimit", f"--nofile={REFUSED_FILES}"))
        except lab.Failed as error:
            return str(error)
    raise lab.Failed("it was not refused")


def run(bench):
    there = [name for name in ("direct", *NAMES) if name in bench.ways and name not in bench.left_out]
    names = [name for name in there if name != "direct"]
    bench.progress("starting")
    result = {"start": start_up(bench, names), "idle": {}, "cost": {}, "reload": {}, "refusal": None}
    bench.progress("memory of idle connections")
    for name in there:
        with guarded(bench, f"{name}: memory of idle connections"):
            result["idle"][name] = idle_memory(bench, name)
    bench.progress("growing")
    growth = QUICK_GROWTH if bench.args.quick else GROWTH
    least = cost(bench, names, "apps", 1)
    for what, numbers in growth.items():
        result["cost"][what] = {str(numbers[0]): least}
        for number in numbers[1:]:
            result["cost"][what][str(number)] = cost(bench, names, what, number)
    bench.progress("reloading")
    if "shunt-auto" in names:
        with guarded(bench, "shunt-auto: reload"):
            result["reload"] = reload(bench, "shunt-auto")
        with guarded(bench, "shunt-auto: more apps than open files"):
            result["refusal"] = refusal(bench, "shunt-auto")
    return result
