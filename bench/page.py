"""Put a measured result into docs/PERFORMANCE.md, as tables and a plot: `python -m bench.page`.

The page's text is written by hand and holds no figure; all figures come from docs/performance.json.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from bench.measure import OURS, ROOT, Sample
from bench.rows import ROWS

__all__ = ["DATA", "PAGE", "PLOT", "filled", "plot"]

PAGE: Final = ROOT / "docs" / "PERFORMANCE.md"
DATA: Final = ROOT / "docs" / "performance.json"
PLOT: Final = ROOT / "docs" / "performance.svg"
_BEGIN: Final = "<!-- figures: written by bench/page.py -->\n"
_END: Final = "<!-- end of figures -->\n"
_HOLDS: Final = {True: "yes", False: "**no**", None: "not judged"}
_PARTS_SHOWN: Final = 6


def filled(page: str, result: Mapping[str, Any]) -> str:
    """Return the page with the result's figures in place of those that it has."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {_BEGIN.strip()} and {_END.strip()}")
    return f"{before}{begin}\n{_figures(result)}\n{end}{after}"


def _figures(result: Mapping[str, Any]) -> str:
    measured = {row["name"]: row for row in result["rows"]}
    return "\n".join(
        [
            *_about(result),
            "",
            "![Each row's value, divided by its goal](performance.svg)",
            "",
            "| row | artifactstore | peer | ratio | range | at most | holds | beside others |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_line(row.name, measured.get(row.name)) for row in ROWS),
            "",
            "Processor time is that of all threads; where it is more than the time taken, several cores are at work.",
            "",
            "| row | time | processor time | of the peer | where artifactstore's processor time goes |",
            "| --- | --- | --- | --- | --- |",
            *(_spent(row, result["profiles"].get(row["name"], {})) for row in result["rows"] if row["unit"] == "s"),
            "",
        ]
    )


def _about(result: Mapping[str, Any]) -> list[str]:
    about = result["machine"]
    versions = [
        f"{name} {version['ran']}" + ("" if version["ran"] == version["expected"] else f" (not {version['expected']})")
        for name, version in about["versions"].items()
        if version["ran"]
    ]
    scaled = "" if result["scale"] == 1 else f" All sizes were multiplied by {result['scale']:g}, so no goal is judged."
    return [
        f"Measured at commit `{about['commit']}`, rounds: {result['rounds']}, on {about['cores']} cores of",
        f"{about['processor']} with {about['memory_gib']:g} GiB, Linux {about['kernel']} and {about['file_system']}.",
        f"The load average was {about['load_before']:g} before.{scaled}",
        f"Versions: {', '.join(versions)}.",
    ]


def _value(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit != "s" else f"{value:.3g} s" if value < 10 else f"{value:.1f} s"


def _line(name: str, row: Mapping[str, Any] | None) -> str:
    link = f"[{name}](#{name})"
    if row is None:
        return f"| {link} | not measured | | | | | | |"
    unit, peer, middle = row["unit"], row["peer"], row["median"]
    ours, holds = _value(middle[OURS], unit), _HOLDS[row["holds"]]
    if peer is None:
        return f"| {link} | {ours} | | | | {_value(row['at_most'], unit)} | {holds} | |"
    others = ", ".join(
        f"{ratio:.2f} times {other} ({_value(middle[other], unit)})"
        for other, ratio in row["ratio"].items()
        if other != peer
    )
    if row["reached"] is None:
        return f"| {link} | {ours} | {peer} is not installed | | | {row['at_most']:g} | {holds} | {others} |"
    low, high = row["ratio_range"][peer]
    return (
        f"| {link} | {ours} | {peer} {_value(middle[peer], unit)} | {row['reached']:.2f} | {low:.2f} to {high:.2f} "
        f"| {row['at_most']:g} | {holds} | {others} |"
    )


def _spent(row: Mapping[str, Any], parts: Mapping[str, float]) -> str:
    name, peer = row["name"], row["peer"]
    cpu = {who: _cpu_s([Sample(**sample) for sample in samples]) for who, samples in row["samples"].items()}
    shown = ", ".join(f"`{part}` {share:.0%}" for part, share in list(parts.items())[:_PARTS_SHOWN])
    return f"| [{name}](#{name}) | {_value(row['median'][OURS], 's')} | {cpu[OURS]} | {cpu.get(peer, '')} | {shown} |"


def _cpu_s(samples: Sequence[Sample]) -> str:
    return _value(statistics.median(sample.cpu_s or 0.0 for sample in samples), "s")


_LEFT, _RIGHT, _WIDTH, _TOP, _STEP = 130, 120, 760, 40, 24
_TICKS: Final = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
_COLOURS: Final = {True: "#0072b2", False: "#d55e00", None: "#777777"}


def plot(result: Mapping[str, Any]) -> str:
    """Return an SVG: for each row a dot at its value divided by its goal, on a logarithmic axis, and its range."""
    rows = [row for row in result["rows"] if row["reached"] is not None]
    spans = [[low / row["at_most"], high / row["at_most"]] for row in rows for low, high in [_range(row)]]
    low = max(
        tick for tick in _TICKS if tick <= min([0.5, *(low for low, _ in spans)], default=0.1) or tick == _TICKS[0]
    )
    high = min(tick for tick in _TICKS if tick >= max([2, *(high for _, high in spans)]) or tick == _TICKS[-1])

    def x(value: float) -> float:
        place = math.log(min(max(value, low), high) / low) / math.log(high / low)
        return round(_LEFT + place * (_WIDTH - _LEFT - _RIGHT), 1)

    bottom = _TOP + _STEP * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 30}" role="img">',
        "<style>text { font: 12px sans-serif }</style>",
        "<title>Each row's value, divided by its goal: left of 1 the goal holds</title>",
        f'<rect width="{_WIDTH}" height="{bottom + 30}" fill="white"/>',
        f'<text x="{x(1)}" y="18" text-anchor="middle">the goal</text>',
    ]
    for tick in _TICKS:
        if low <= tick <= high:
            colour, width = ("black", 2) if tick == 1 else ("#cccccc", 1)
            lines += [
                f'<path d="M{x(tick)} {_TOP - 14}V{bottom}" stroke="{colour}" stroke-width="{width}"/>',
                f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>',
            ]
    for number, (row, (least, most)) in enumerate(zip(rows, spans, strict=True)):
        y, colour = _TOP + _STEP * number + 4, _COLOURS[row["holds"]]
        unit = "" if row["peer"] else f" {row['unit']}"
        lines += [
            f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(row["name"])}</text>',
            f'<path d="M{x(least)} {y}H{x(most)}" stroke="{colour}" stroke-width="3"/>',
            f'<circle cx="{x(row["reached"] / row["at_most"])}" cy="{y}" r="5" fill="{colour}"/>',
            f'<text x="{_WIDTH - _RIGHT + 12}" y="{y + 4}">{row["reached"]:.4g}{unit} of {row["at_most"]:g}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _range(row: Mapping[str, Any]) -> tuple[float, float]:
    values = [sample["value"] for sample in row["samples"][OURS]]
    low, high = row["ratio_range"][row["peer"]] if row["peer"] else (min(values), max(values))
    return low, high


if __name__ == "__main__":
    measured = json.loads(DATA.read_text())
    PAGE.write_text(filled(PAGE.read_text(), measured))
    PLOT.write_text(plot(measured))
