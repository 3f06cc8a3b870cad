# SPDX-License-Identifier: MIT
"""The document of a run as a file, and as tables and pictures beside it."""

import json

from lib import plots
from lib.contenders import ENGINES, MAIN, ONE_WORKER, reference
from lib.figures import median, median_ratio, number, rate_with_spread, times
from lib.rows import IDLE, IDLE_WITHOUT, ROWS

PEERS = ("haproxy", "nginx")
KIB, MIB = 1024, 1 << 20


def table(title, note, head, lines):
    """None if there is nothing to show."""
    if not lines:
        return []
    return [f"## {title}", "", *([note, ""] if note else []), "| " + " | ".join(head) + " |",
            "|---" * len(head) + "|", *("| " + " | ".join(line) + " |" for line in lines), ""]


class Report:
    def __init__(self, document):
        self.about, self.samples = document["about"], document["samples"]
        self.left_out, self.repeated = document["left_out"], document["repeated"]
        self.scale = document["scale"]
        self.rows = [row for row in ROWS if self.samples.get(row.name)]

    def by_contender(self, title, note, kinds, names, cell, rows=None):
        """A table with a line for each row, and a column for each of the contenders that were there.
        A row of which nothing was measured (by these contenders, or in this way) is left out."""
        rows = [row for row in rows or self.rows if row.kind in kinds]
        names = [name for name in names if any(name in self.samples[row.name] for row in rows)]
        lines = [[row.name] + [cell(self.samples[row.name], name) if name in self.samples[row.name] else "-"
                               for name in names] for row in rows]
        return table(title, note, ["", *names], [line for line in lines if any(map(is_known, line[1:]))])

    def head(self):
        a = self.about
        return ["# shunt beside HAProxy and nginx", "",
                f"{machine_line(a)}; iperf3 {a['iperf3']}, redis {a['redis']}, PostgreSQL {a['postgresql']}, "
                f"wrk {a['wrk']}; {a['took_s']} s in all.",
                "Medians, with (lowest..highest), and the ratio to HAProxy in the same round.", ""]

    def beside(self):
        """auto beside each of the others, and beside the better of both proxies."""
        lines = []
        for row in self.rows:
            of_row = self.samples[row.name]
            to = {name: median_ratio(of_row, "shunt-auto", name) for name in ("direct", *PEERS)}
            if any(to.values()):
                better = [to[name] for name in PEERS if to[name] is not None]
                lines.append([row.name, *map(times, to.values()), times(min(better, default=None)),
                              *(times(latency_ratio(of_row, key)) for key in ("p50_us", "p99_us"))])
        note = "Rates (more is better), and p50 and p99 (less is better) to the lower of haproxy's and nginx's."
        return table("shunt-auto beside the others", note, ["", "to direct", *(f"to {name}" for name in PEERS),
                                                            "to the better of both", "p50", "p99"], lines)

    def rates(self):
        note = "Messages, requests, transactions or connections a second."
        return [*self.by_contender("Bulk, Gbit/s", "", ("bulk",), MAIN, rate_cell),
                *self.by_contender("Rates", note, ("requests", "churn", "idle", "programs"), MAIN, rate_cell)]

    def latencies(self):
        return self.by_contender("Latency, p50 / p99 / p99.9 in µs", "",
                                 ("requests", "churn", "idle", "programs"), MAIN, latency_cell)

    def cpu(self):
        note = "Of the proxy's processes / of the host, with clients, backends and the kernel's interrupts."
        return [*self.by_contender("CPU seconds a GB", note, ("bulk",), MAIN, cpu_cell),
                *self.by_contender("CPU seconds a million messages or connections", note,
                                   ("requests", "churn", "programs"), MAIN, cpu_cell)]

    def selection(self):
        selected = [row for row in self.rows if set(row.contenders) > set(MAIN)]
        there = {name for row in selected for name in self.samples[row.name]}
        kinds = {row.kind for row in selected}
        out = []
        if there & set(ENGINES):
            names = ("haproxy", "nginx", "shunt-auto", *ENGINES)
            out += self.by_contender("Each engine", "", kinds, names, rate_cell, selected)
            out += self.by_contender("Each engine: latency, p50 / p99 / p99.9 in µs", "", kinds - {"bulk"},
                                     names, latency_cell, selected)
            out += self.by_contender("Each engine: CPU seconds a GB, or a million", "", kinds, names,
                                     cpu_cell, selected)
        if there & set(ONE_WORKER):
            out += self.by_contender("With one worker", "", kinds, ONE_WORKER, rate_cell, selected)
        return out

    def idle(self):
        found = self.scale.get("idle", {})
        ends = found.get("direct", {}).get("kernel_bytes")
        of_row, without = self.samples.get(IDLE.name, {}), self.samples.get(IDLE_WITHOUT, {})
        lines = []
        for name, bytes_ in found.items():
            kernel = bytes_["kernel_bytes"]
            beyond = "-" if ends is None or name == "direct" else kib(kernel - ends)
            busy = median_ratio({"with": of_row.get(name, []), "without": without.get(name, [])},
                                "with", "without")
            lines.append([name, kib(bytes_["process_bytes"]), kib(kernel), beyond, times(busy)])
        return table("8,000 idle connections", "KiB of memory for each, in the proxy's process, in the kernel "
                     "(clients' and backends' sockets, too), and there beyond what it is without a proxy; "
                     "and the rate of 32 busy ones, to that without the idle ones.",
                     ["", "process", "kernel", "kernel, beyond direct", "busy ones"], lines)

    def starting(self):
        return table("Start", "From the command to the first byte through the last app, in s / memory then, "
                     "in MiB.", *by_number(self.scale.get("start", {}), "apps", lambda s:
                                           f"{number(median(s, 'seconds'))} / {median(s, 'bytes') / MIB:.1f}"))

    def growing(self):
        out = []
        for what, of_what in self.scale.get("cost", {}).items():
            out += table(f"Connecting, by the number of {what}", "Connections a second; µs of CPU of the "
                         "proxy / of the host for each.", *by_number(of_what, what, cost_cell))
        return out

    def reloading(self):
        lines = [[what, f"{number(median_of(values) * 1e3)} ({number(min(values) * 1e3)}.."
                  f"{number(max(values) * 1e3)})"]
                 for what, values in self.scale.get("reload", {}).items()]
        return table("Reload of 2,000 apps of 10 targets", "", ["", "ms"], lines)

    def notes(self):
        refusal = self.scale.get("refusal")
        out = ["## More ports than open files", "", "```", refusal, "```", ""] if refusal else []
        for title, found in (("Left out", self.left_out), ("Failed once, and measured again", self.repeated)):
            if found:
                out += [f"## {title}", "", *(f"- {what}: {why}" for what, why in found.items()), ""]
        return out

    def text(self):
        parts = (self.head, self.beside, self.rates, self.latencies, self.cpu, self.selection, self.idle,
                 self.starting, self.growing, self.reloading, self.notes)
        return "\n".join(line for part in parts for line in part())


def machine_line(about):
    rounds = f"{about['rounds']} round{'s' * (about['rounds'] > 1)}"
    return (f"{about['cpu']}, Linux {about['kernel']}; shunt {about['shunt']}, HAProxy {about['haproxy']}, "
            f"nginx {about['nginx']}, {about['workers']} workers each; {rounds}; {about['date']}")


def is_known(cell):
    return cell.strip("- /") != ""


def rate_cell(of_row, name):
    cell = rate_with_spread(of_row[name])
    ratio = median_ratio(of_row, name, reference(name)) if name != reference(name) else None
    return cell if ratio is None else f"{cell} {times(ratio)}"


def latency_ratio(of_row, key):
    """shunt-auto's, to the lower of the other proxies'; None where one is not known."""
    values = [median(of_row.get(name, []), key) for name in ("shunt-auto", *PEERS)]
    return None if None in values or not min(values[1:]) else values[0] / min(values[1:])


def latency_cell(of_row, name):
    values = [median(of_row[name], key) for key in ("p50_us", "p99_us", "p999_us")]
    return " / ".join("-" if v is None else number(v) for v in values)


def cpu_cell(of_row, name):
    values = [median(of_row[name], key) for key in ("cpu_s_per_unit", "host_cpu_s_per_unit")]
    return " / ".join("-" if v is None else number(v) for v in values)


def cost_cell(samples):
    # A second for a million connections is a microsecond for one.
    return f"{rate_with_spread(samples)}; {cpu_cell({'': samples}, '')}"


def kib(value):
    return f"{value / KIB:.2f}"


def median_of(values):
    return sorted(values)[len(values) // 2]


def by_number(of_what, what, cell):
    """Head and lines of a table with a line for each number of something."""
    names = list(dict.fromkeys(name for found in of_what.values() for name in found))
    return [what, *names], [[f"{int(n):,}", *(cell(found[name]) if name in found else "-" for name in names)]
                            for n, found in of_what.items()]


def write(folder, document):
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def draw(folder):
    """Tables and pictures of the document that is in the folder; the tables' text."""
    document = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
    text = Report(document).text()
    (folder / "latest.md").write_text(text, encoding="utf-8")
    plots.draw(folder, document, machine_line(document["about"]))
    return text
