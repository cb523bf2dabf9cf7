"""Curves on two logarithmic axes, as SVG."""

import math
from xml.sax.saxutils import escape

COLOURS = ["#1b6ca8", "#c1440e", "#3a7d44", "#7b4397"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 380, 260, 56, 34, 12, 40


def ticks(low, high):
    return [10**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def short(value):
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def panel(x, y, title, unit, curves):
    """One pair of axes; `curves` has (name, [(x, y)]) of positive numbers."""
    across = ticks(min(p[0] for _, c in curves for p in c), max(p[0] for _, c in curves for p in c))
    up = ticks(min(p[1] for _, c in curves for p in c), max(p[1] for _, c in curves for p in c))
    if len(up) == 1:
        up = [up[0] / 10, *up]
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(point):
        share = [
            (math.log10(value) - math.log10(axis[0])) / (math.log10(axis[-1]) - math.log10(axis[0]))
            for value, axis in zip(point, (across, up))
        ]
        return x + LEFT + share[0] * wide, y + TOP + (1 - share[1]) * high

    out = [f'<text x="{x + LEFT}" y="{y + 18}" font-weight="bold">{escape(title)}: {unit}</text>']
    for value in across:
        px, _ = at((value, up[0]))
        out.append(f'<line x1="{px:.1f}" y1="{y + TOP}" x2="{px:.1f}" y2="{y + TOP + high}" stroke="#ddd"/>')
        out.append(f'<text x="{px:.1f}" y="{y + TOP + high + 14}" text-anchor="middle">{short(value)}</text>')
    for value in up:
        _, py = at((across[0], value))
        out.append(f'<line x1="{x + LEFT}" y1="{py:.1f}" x2="{x + LEFT + wide}" y2="{py:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{x + LEFT - 5}" y="{py + 4:.1f}" text-anchor="end">{short(value)}</text>')
    for number, (name, curve) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = [at(point) for point in curve]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in points]
        plain = escape(name.replace("`", ""))
        out.append(f'<text x="{x + LEFT + 6}" y="{y + TOP + 13 + 13 * number}" fill="{colour}">{plain}</text>')
    return out


def growth(results, titles):
    """Two panels a case: seconds, and MiB. `results` has, for each case and command, (size, seconds, MiB)."""
    out = []
    for row, (case, found) in enumerate(results.items()):
        for column, unit in ((1, "seconds"), (2, "MiB")):
            curves = [(name, [(p[0], max(p[column], 1e-3)) for p in points]) for name, points in found.items()]
            out += panel((column - 1) * WIDTH, row * HEIGHT, titles[case], unit, curves)
    size = f'width="{2 * WIDTH}" height="{len(results) * HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *out, "</svg>\n"])
