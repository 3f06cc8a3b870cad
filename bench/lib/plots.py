# SPDX-License-Identifier: MIT
"""The pictures, by gnuplot, as SVG: light, whatever the reader's page is."""

import shutil
import subprocess
import sys

from lib.contenders import ENGINES, MAIN, reference
from lib.figures import median, median_ratio
from lib.rows import ROWS
from lib.scale import NAMES

# Colours that also the colour-blind tell apart (Okabe and Ito), and gnuplot's point types.
LOOKS = {
    "direct": ("#777777", 9),
    "haproxy": ("#0072b2", 5),
    "nginx": ("#e69f00", 11),
    "shunt-auto": ("#d55e00", 7),
    "shunt-copy": ("#cc79a7", 13),
    "shunt-splice": ("#009e73", 5),
    "shunt-sockmap": ("#56b4e9", 11),
    "shunt-wire": ("#000000", 6),
}
WIDTH_PX = 900
KEY_STEP_PX = 118
LINE_PX = 22  # of a row
MARGIN_TOP_PX, MARGIN_BOTTOM_PX = 70, 88
COST_HEIGHT_PX = 360
PANELS = {"apps": "number of apps", "targets": "number of targets", "connections": "number of idle connections"}
OFFSET = 0.16  # between contenders of a row, in rows


def frame(path, height, title, machine, names):
    """The page with its title on top, the key below it, and what it was measured on at the bottom."""
    script = (f'set terminal svg size {WIDTH_PX},{height} font "Helvetica,13" background "#ffffff"\n'
              f'set output "{path}"\n'
              f'set label {quoted(title)} at screen 0.5,screen {1 - 18 / height} center font ",15" noenhanced\n'
              f'set label {quoted(machine)} at screen 0.5,screen {16 / height} center font ",9" '
              'textcolor rgb "#555555" noenhanced\n'
              'set key off\nset grid linetype 1 linecolor rgb "#e4e4e4"\n')
    # gnuplot's own key wraps at the width of a panel.
    left = (WIDTH_PX - KEY_STEP_PX * len(names)) / 2
    for i, name in enumerate(names):
        script += (f"set label {quoted(name)} at screen {(left + i * KEY_STEP_PX) / WIDTH_PX},"
                   f"screen {1 - 42 / height} point {look(name)} offset 1,-0.25 noenhanced\n")
    return script


def quoted(text):
    """Plain text for gnuplot: no markup (noenhanced), and no quotes that would end it."""
    return '"' + text.replace("\\", "").replace('"', "'") + '"'


def look(name):
    colour, point = LOOKS[name]
    return f'linecolor rgb "{colour}" pointtype {point} pointsize 0.75'


def data_block(name, lines):
    return f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n"


def by_row(path, title, machine, rows, series, axis):
    """Rows below each other, a point (or a point and a bar) for each contender."""
    height = MARGIN_TOP_PX + MARGIN_BOTTOM_PX + LINE_PX * len(rows)
    script = frame(path, height, title, machine, series) + axis
    ticks = ", ".join(f"{quoted(row.name)} {i}" for i, row in enumerate(rows))
    script += f"set ytics ({ticks}) scale 0 noenhanced\nset yrange [{len(rows) - 0.4}:-0.6]\n"
    script += 'set grid x ytics\nset border 1 linecolor rgb "#555555"\nset lmargin 26\n'
    script += f"set tmargin at screen {1 - MARGIN_TOP_PX / height}\n"
    script += f"set bmargin at screen {MARGIN_BOTTOM_PX / height}\n"
    plots = []
    for number, (name, points) in enumerate(series.items()):
        script += data_block(f"d{number}", points)
        columns = "1:2:3:4 with xerrorbars" if points and len(points[0].split()) == 4 else "1:2 with points"
        plots.append(f"$d{number} using {columns} {look(name)} linewidth 1.2")
    return script + "plot " + ", \\\n  ".join(plots) + "\n"


def ratios_of(samples, rows, names):
    found = {name: [] for name in names}
    for i, row in enumerate(rows):
        for name in names:
            ratio = median_ratio(samples[row.name], name, reference(name))
            if ratio is not None:
                found[name].append(f"{ratio:.4f} {i}")
    return {name: points for name, points in found.items() if points}


RATIO_AXIS = ('set xlabel "rate, as a ratio to HAProxy\'s in the same round (log scale; right is faster)"\n'
              'set logscale x 2\nset xtics (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) format "%g"\n'
              'set xrange [*<0.5:2<*]\n')


def rates(folder, document, machine):
    samples = document["samples"]
    rows = [row for row in ROWS if "haproxy" in samples.get(row.name, {})]
    return by_row(folder / "rates.svg", "Rates beside HAProxy's", machine, rows,
                  ratios_of(samples, rows, MAIN), RATIO_AXIS) if rows else ""


def engines(folder, document, machine):
    samples = document["samples"]
    rows = [row for row in ROWS if set(row.contenders) > set(MAIN) and "haproxy" in samples.get(row.name, {})]
    series = ratios_of(samples, rows, ("haproxy", "nginx", "shunt-auto", *ENGINES))
    if not set(series) & set(ENGINES):
        return ""
    return by_row(folder / "engines.svg", "Each engine beside HAProxy", machine, rows, series, RATIO_AXIS)


def latency(folder, document, machine):
    """From p50, the point, to p99 and, in a thin line, to p99.9."""
    samples = document["samples"]
    rows = [row for row in ROWS if row.kind in ("requests", "churn", "idle") and samples.get(row.name)]
    series = {name: [] for name in MAIN}
    for i, row in enumerate(rows):
        for nth, name in enumerate(name for name in MAIN if name in samples[row.name]):
            p50, p99 = (median(samples[row.name][name], key) for key in ("p50_us", "p99_us"))
            series[name].append(f"{p50} {i + (nth - 1.5) * OFFSET} {p50} {p99}")
    axis = ('set xlabel "µs (log scale; left is faster)"\nset logscale x 10\nset format x "%.0f"\nset bars 0.4\n')
    series = {name: points for name, points in series.items() if points}
    return by_row(folder / "latency.svg", "Latency: p50 (the mark) to p99 (the end of the line)", machine, rows,
                  series, axis) if series else ""


def cost(folder, document, machine):
    """By what there is beside it. A second for a million connections is a microsecond for one."""
    panels = document["scale"].get("cost", {})
    if not panels:
        return ""
    names = [name for name in NAMES
             if any(name in found for of_what in panels.values() for found in of_what.values())]
    script = frame(folder / "cost.svg", COST_HEIGHT_PX,
                   "CPU time of a connection, one message, close: of the host (solid), of the proxy (dashed)", machine,
                   names)
    most = max(median(samples, "host_cpu_s_per_unit") for of_what in panels.values()
               for found in of_what.values() for samples in found.values())
    script += (f"set multiplot layout 1,{len(panels)} margins 0.07,0.985,0.27,0.8 spacing 0.05\n"
               f'set logscale x 10\nset yrange [0:{most * 1.1}]\nset border 3 linecolor rgb "#555555"\n'
               'set tics nomirror\nset grid noxtics ytics\nset xtics 10 format "%.0s%c"\n')
    for nth, (what, of_what) in enumerate(panels.items()):
        # 0 has no place on a log scale.
        places = {number: max(int(number), 1) for number in of_what}
        plots = []
        for i, name in enumerate(names):
            block = f"p{nth}_{i}"
            keys = ("host_cpu_s_per_unit", "cpu_s_per_unit")
            script += data_block(block, [
                " ".join([str(places[n]), *(str(median(found[name], key)) for key in keys)])
                for n, found in of_what.items() if name in found])
            plots.append(f"${block} using 1:2 with linespoints {look(name)} linewidth 1.5")
            plots.append(f"${block} using 1:3 with linespoints {look(name)} linewidth 1 dashtype 2")
        script += f"set xlabel {quoted(PANELS[what])}\n"
        script += 'set ylabel "µs" offset 1\n' if nth == 0 else "unset ylabel\n"
        script += "plot " + ", \\\n  ".join(plots) + "\nunset label\n"
    return script + "unset multiplot\n"


def draw(folder, document, machine):
    if not shutil.which("gnuplot"):
        print("bench: no pictures: gnuplot is not installed", file=sys.stderr)
        return
    for picture in (rates, engines, latency, cost):
        script = picture(folder, document, machine)
        if not script:
            continue
        done = subprocess.run(["gnuplot"], input=script, check=False, capture_output=True, text=True, timeout=30)
        if done.returncode:
            print(f"bench: gnuplot: {done.stderr.strip()}", file=sys.stderr)
