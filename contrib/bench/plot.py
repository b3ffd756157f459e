"""Draws curves and bars as SVG, light or dark as the reader's screen is, side by side in panels."""
import math
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 400, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 40, 86
LEGEND = 17               # the height of a line of it
LIGHT = ('#1f66b0', '#c8501e', '#2f8a43', '#8b4ba8', '#7a6a12')
DARK = ('#6fb1f5', '#f2935c', '#72c785', '#cf9be6', '#d8c25a')


@dataclass
class Panel:
    """A chart. curves: the name of each, and its points (x, y); a marked one is drawn dashed."""
    title: str
    x_title: str
    curves: dict
    marked: set = field(default_factory=set)
    log_x: bool = False


def style():
    light = ''.join(f'.c{n}{{stroke:{c}}}.f{n}{{fill:{c}}}' for n, c in enumerate(LIGHT))
    dark = ''.join(f'.c{n}{{stroke:{c}}}.f{n}{{fill:{c}}}' for n, c in enumerate(DARK))
    return (f'<style>text{{font:12px sans-serif;fill:#444}}.t{{font-size:14px}}.b{{fill:#fff}}.g{{stroke:#dfe3ea}}.a{{stroke:#70747c}}'
            f'.l{{fill:none;stroke-width:2}}.m{{stroke-dasharray:7 4}}{light}'
            f'@media (prefers-color-scheme:dark){{text{{fill:#c9ced6}}.b{{fill:#0d1117}}.g{{stroke:#2a313b}}.a{{stroke:#8a919c}}{dark}}}</style>')


def short(x):
    """A number for an axis."""
    for unit, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(x) >= unit:
            return f'{x / unit:.3g}{name}'
    return f'{x:.3g}'


def step(span, parts):
    """A round number that divides a span into about so many parts."""
    raw = span / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= raw * .999)


class Axis:
    """Maps values to pixels."""

    def __init__(self, values, start, end, log, parts=4):
        self.start, self.end, self.log = start, end, log
        low, high = min(values), max(values)
        if log:
            self.low, self.high = math.log10(low), math.log10(high)
            if self.high - self.low < .3:
                self.low, self.high = self.low - .15, self.high + .15
            first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
            self.ticks = [10.0 ** n for n in range(first, last + 1)]
            if len(self.ticks) < 3:
                finer = sorted(f * 10.0 ** n for n in range(first - 1, last + 1) for f in (1, 2, 5))
                self.ticks = [t for t in finer if self.low - 1e-9 <= math.log10(t) <= self.high + 1e-9]
        else:
            size = step(high if high > 0 else 1, parts)
            self.low, self.high = 0, size * math.ceil((high if high > 0 else 1) / size - 1e-9)
            self.ticks = [size * n for n in range(round(self.high / size) + 1)]

    def at(self, value):
        v = math.log10(value) if self.log else value
        return round(self.start + (v - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def panel(p, left):
    """The elements of a panel whose left edge is there."""
    points = [point for curve in p.curves.values() for point in curve]
    ys = [y for _, y in points]
    log_y = min(ys) > 0 and max(ys) / min(ys) > 30
    x = Axis([v for v, _ in points], left + LEFT, left + WIDTH - RIGHT, p.log_x and min(v for v, _ in points) > 0)
    y = Axis(ys, HEIGHT - BOTTOM, TOP, log_y)
    out = [f'<text class="t" x="{left + 12}" y="22">{escape(p.title)}</text>']
    for t in y.ticks:
        out.append(f'<path class="g" d="M{x.start} {y.at(t)}H{x.end}"/><text x="{x.start - 6}" y="{y.at(t) + 4}" text-anchor="end">{short(t)}</text>')
    for t in x.ticks:
        out.append(f'<path class="a" d="M{x.at(t)} {y.start}v4"/><text x="{x.at(t)}" y="{y.start + 17}" text-anchor="middle">{short(t)}</text>')
    out.append(f'<path class="a" d="M{x.start} {y.start}H{x.end}"/>')
    out.append(f'<text x="{(x.start + x.end) / 2}" y="{y.start + 33}" text-anchor="middle">{escape(p.x_title)}</text>')
    for n, (name, curve) in enumerate(p.curves.items()):
        color, path = n % len(LIGHT), 'L'.join(f'{x.at(a)} {y.at(b)}' for a, b in curve)
        marked = ' m' if name in p.marked else ''
        out.append(f'<path class="l c{color}{marked}" d="M{path}"/>')
        if len(curve) <= 12:
            out += [f'<circle class="f{color}" cx="{x.at(a)}" cy="{y.at(b)}" r="3"/>' for a, b in curve]
        base = HEIGHT - BOTTOM + 50 + n * LEGEND
        more = ', not as it should be' if marked else ''
        out.append(f'<path class="l c{color}{marked}" d="M{left + LEFT} {base - 4}h22"/><text x="{left + LEFT + 28}" y="{base}">{escape(name)}{more}</text>')
    return out


def svg(panels):
    """An image of the panels that have points, at most three in a row."""
    panels = [p for p in panels if any(p.curves.values())]
    if not panels:
        return ''
    columns = min(len(panels), 3)
    row = HEIGHT + max(max(len(p.curves) for p in panels) - 2, 0) * LEGEND
    width, height = columns * WIDTH, -(-len(panels) // columns) * row
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">', style(), f'<rect class="b" width="{width}" height="{height}"/>']
    for n, p in enumerate(panels):
        out += [f'<g transform="translate(0 {n // columns * row})">', *panel(p, n % columns * WIDTH), '</g>']
    return '\n'.join([*out, '</svg>', ''])


BAR, NAMES = 22, 150  # the height of a bar with its gap, and the width of the names


def bars(charts):
    """An image of charts (title, bars), two in a row; each bar is a name and a value. The scale is logarithmic: some are a hundred times others."""
    charts = [c for c in charts if c[1]]
    row = TOP + max((len(found) for _, found in charts), default=0) * BAR + 34
    wide = WIDTH + NAMES
    width, height = min(len(charts), 2) * wide, -(-len(charts) // 2) * row
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">', style(), f'<rect class="b" width="{width}" height="{height}"/>']
    for n, (title, found) in enumerate(charts):
        left, top = n % 2 * wide, n // 2 * row
        axis = Axis([.2, max(v for _, v in found)], left + NAMES, left + wide - 60, True)
        out.append(f'<text class="t" x="{left + 12}" y="{top + 22}">{escape(title)}: less is better</text>')
        bottom = top + TOP + len(found) * BAR
        for t in axis.ticks:
            out.append(f'<path class="g" d="M{axis.at(t)} {top + TOP}V{bottom}"/><text x="{axis.at(t)}" y="{bottom + 16}" text-anchor="middle">{short(t)}</text>')
        for i, (name, value) in enumerate(found):
            y = top + TOP + i * BAR
            color = 2 if name == 'floor' else 0 if name.startswith('tcpmux') else 1
            end = axis.at(max(value, .2))
            out.append(f'<text x="{left + NAMES - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
                       f'<rect class="f{color}" x="{axis.start}" y="{y + 3}" width="{round(end - axis.start, 1)}" height="{BAR - 6}"/>'
                       f'<text x="{end + 5}" y="{y + 15}">{value:.3g}</text>')
    return '\n'.join([*out, '</svg>', ''])
