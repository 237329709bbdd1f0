"""Draws what `cargo bench --bench growth -- --json FILE` measured: `plot.py FILE SVG`."""

import json
import math
import sys

PANELS = (("grants", "grants in the policy"), ("groups", "groups that a user is in"), ("depth", "levels of the tree"))
LINES = (
    ("by_id", "p50", "#1f6feb", "", "by id, median"),
    ("by_id", "p99", "#1f6feb", "5 4", "by id, 99th percentile"),
    ("by_name", "p50", "#c2410c", "", "by name, median"),
    ("by_name", "p99", "#c2410c", "5 4", "by name, 99th percentile"),
)
WIDTH, HEIGHT, TOP, BOTTOM, LEFT, GAP = 1000, 360, 64, 56, 64, 34


def short(number):
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)


def main():
    source, target = sys.argv[1:]
    with open(source) as file:
        measured = json.load(file)
    highest = max(point[way][share] for name, _ in PANELS for point in measured[name] for way, share, *_ in LINES)
    step = 250 if highest < 2_500 else 500 if highest < 5_000 else 1_000
    ceiling = math.ceil(highest / step) * step
    # Each panel is as wide as it has points.
    points = sum(max(2, len(measured[name])) for name, _ in PANELS)
    unit = (WIDTH - LEFT - 20 - GAP * (len(PANELS) - 1)) / points

    def y(nanoseconds):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * nanoseconds / ceiling

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="bold">What a decision costs, as the policy grows</text>',
    ]
    for number, (_, _, colour, dash, label) in enumerate(LINES):
        x = LEFT + number * 205
        parts.append(f'<line x1="{x}" x2="{x + 26}" y1="38" y2="38" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts.append(f'<text x="{x + 32}" y="42">{label}</text>')
    left = LEFT
    for name, title in PANELS:
        series = measured[name]
        wide = unit * max(2, len(series))
        for value in range(0, ceiling + 1, step):
            parts.append(f'<line x1="{left:.1f}" x2="{left + wide:.1f}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
            if left == LEFT:
                parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value / 1000:g} µs</text>')
        at = [left + unit * (index + 0.5) for index in range(len(series))]
        for x, point in zip(at, series):
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(point["at"])}</text>')
        parts.append(f'<text x="{left + wide / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{title}</text>')
        for way, share, colour, dash, _ in LINES:
            path = " ".join(f"{x:.1f},{y(point[way][share]):.1f}" for x, point in zip(at, series))
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
            for x, point in zip(at, series):
                parts.append(f'<circle cx="{x:.1f}" cy="{y(point[way][share]):.1f}" r="3" fill="{colour}"/>')
        left += wide + GAP
    with open(target, "w") as file:
        file.write("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
