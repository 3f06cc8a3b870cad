# SPDX-License-Identifier: MIT
"""Samples as figures: medians, spreads, ratios within rounds, and how they are written."""

import statistics


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def median(samples, key):
    """None if any sample is without."""
    values = [s.get(key) for s in samples]
    return None if None in values or not values else statistics.median(values)


def ratios(samples, others):
    """Of rates, round by round."""
    return [a["rate"] / b["rate"] for a, b in zip(samples, others) if b["rate"]]


def median_ratio(of_row, name, other):
    """None where one of the two was not measured."""
    if name not in of_row or other not in of_row:
        return None
    found = ratios(of_row[name], of_row[other])
    return statistics.median(found) if found else None


def rate_with_spread(samples):
    rates = [s["rate"] for s in samples]
    cell = number(statistics.median(rates))
    return cell if len(rates) == 1 else f"{cell} ({number(min(rates))}..{number(max(rates))})"


def times(ratio):
    return "-" if ratio is None else f"×{ratio:.2f}"
