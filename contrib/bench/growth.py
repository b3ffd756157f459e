#!/usr/bin/env python3
"""Measures how tcpmux grows, and draws it.

  clients    CPU of a message, latency and memory over the number of clients, with 1 and 2 processors, next to the floor
  file       records a second over the size of the record file
  backups    records a second over the number of rotated files, while the file is rotated each MiB
  listeners  visits, records a second, start-up and an upgrade over the number of listeners, which have a client each
  start      start-up and an upgrade (SIGUSR2) over the number of clients, which are held
  memory     memory and descriptors over time, while 2,000 clients a second visit

Each round measures all points, in turns forwards and backwards. Figures are medians over the rounds. The exponent b says that
a figure grows as x^b: it is the median of the slopes between all pairs of points in logarithms, in each round; 0 is flat, 1 is
in proportion. A figure is marked if it grows by .1 faster than it should and than that of the floor, in all rounds that the
interval for the median takes in.
"""
import argparse
import json
import os
import re
import resource
import statistics
import sys
import time

import base
import plot
import report
from report import number
from servers import Failed, build, workplace, write
from slope import Growth, exponent
from sweeps import SWEEPS, Memory


def descriptors(wanted=49152):
    """Raises how many descriptors a process may have, if that is allowed, and returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            pass  # only root may
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Results:
    """What a sweep has found."""

    def __init__(self, sweep, most):
        self.sweep, self.runs = sweep, 0
        self.xs = sweep.values(most)
        self.rounds = {s: {x: [] for x in self.xs} for s in sweep.servers}  # dicts of figures
        self.errors = []

    def measure(self, runs, until):
        """Measures all points in each round, until the time is over."""
        longest = 0
        for n in range(runs):
            start = time.monotonic()
            if n and start + longest > until:
                report.tell(f'{self.sweep.title}: the time is over after {n} of {runs} runs')
                break
            for x in self.xs[::1 if n % 2 == 0 else -1]:
                for server in self.sweep.servers[::1 if n % 2 == 0 else -1]:
                    report.progress(f'{self.sweep.title} {n + 1}/{runs}: {x:,} {self.sweep.x_title}, {server}')
                    self.rounds[server][x].append(self.point(server, x))
            self.runs += 1
            longest = max(longest, time.monotonic() - start)

    def point(self, server, x):
        try:
            d = self.sweep.point(server, x)
        except (Failed, OSError) as e:
            self.errors.append(f'{server}, {x:,} {self.sweep.x_title}: {e}')
            return {}
        for name, what in (('bad', 'clients failed'), ('lost', 'lines are not in the file')):
            if d.get(name):
                self.errors.append(f'{server}, {x:,} {self.sweep.x_title}: {d[name]:.0f} {what}')
        return d

    def median(self, server, x, figure):
        found = [d[figure] for d in self.rounds[server][x] if figure in d]
        return statistics.median(found) if found else None

    def curve(self, server, figure):
        return [(x, y) for x in self.xs if (y := self.median(server, x, figure)) is not None]

    def exponents(self, server, figure):
        """One of each round."""
        curves = [[(x, self.rounds[server][x][n][figure]) for x in self.xs if figure in self.rounds[server][x][n]] for n in range(self.runs)]
        return [e for e in map(exponent, curves) if e is not None]

    def growths(self):
        """A Growth by server and name of the figure."""
        found = {}
        for f in self.sweep.figures:
            floor = self.exponents('floor', f.name) if 'floor' in self.rounds else []
            for server in self.rounds:
                exponents = self.exponents(server, f.name)
                if exponents:
                    found[server, f.name] = Growth(f, exponents, statistics.median(floor) if floor and server != 'floor' else None)
        return found


    def recall(self, rounds):
        """Takes the rounds of another run, as its --json has them."""
        self.rounds = {server: {float(x): of for x, of in points.items()} for server, points in rounds.items()}
        self.xs = sorted({x for points in self.rounds.values() for x in points})
        self.runs = max((len(of) for points in self.rounds.values() for of in points.values()), default=0)


class OverTime(Results):
    """What the sweep over time has found. The beginning, in which caches fill, does not count for the exponents."""

    def measure(self, runs, until):
        del runs, until
        try:
            for x, d in self.sweep.series(self.seconds):
                self.xs.append(x)
                self.rounds['tcpmux'][x] = [d]
            self.runs = 1
            if self.sweep.failed:
                self.errors.append(self.sweep.failed)
        except (Failed, OSError) as e:
            self.errors.append(str(e))

    def exponents(self, server, figure):
        curve = self.curve(server, figure)
        found = exponent(curve[len(curve) // 4:])
        return [] if found is None else [found]


def sentence(title):
    """What a sweep is, from the text above."""
    text = re.search(rf'^  {title} +(.*)$', __doc__, re.MULTILINE)[1]
    return f'{text[0].upper()}{text[1:]}.'


def cell(value):
    return '–' if value is None else f'{value:,.0f}' if value == int(value) else number(value)


def section(r, image):
    """The text about a sweep."""
    s, growths = r.sweep, r.growths()
    lines = [f'### {s.title}', '', sentence(s.title), '']
    if image:
        lines += [f'![{s.title}]({image})', '']
    lines += ['| ' + ' | '.join([s.x_title, 'server', *(f.unit for f in s.figures)]) + ' |', '| ---: | --- |' + ' ---: |' * len(s.figures)]
    shown = r.xs if len(r.xs) <= 12 else r.xs[4::5]
    for x in shown:
        for server in s.servers:
            ys = [r.median(server, x, f.name) for f in s.figures]
            lines.append('| ' + ' | '.join([cell(x), server, *map(cell, ys)]) + ' |')
    if growths:
        lines += ['', '| server | figure | exponent | is within | should be | |', '| --- | --- | ---: | ---: | ---: | --- |']
    for (server, _), g in growths.items():
        low, high, covered = base.interval(g.exponents)
        within = f'{low:.2f} to {high:.2f} ({covered:.0%})' if len(g.exponents) > 1 else '–'
        should, mark = ('–', '') if server == 'floor' else (g.should, f'**{"falls" if g.figure.rate else "grows"} faster than it should**' if g.fault else '')
        lines.append(f'| {server} | {g.figure.unit} | {g.middle:.2f} | {within} | {should} | {mark} |')
    lines.append('')
    if s.told:
        lines += [s.told, '']
    if r.errors:
        lines += [f'Not as it should be: {"; ".join(dict.fromkeys(r.errors))}.', '']
    return lines


def image(r):
    growths = r.growths()
    panels = []
    for f in r.sweep.figures:
        curves = {s: c for s in r.sweep.servers if (c := r.curve(s, f.name))}
        marked = {s for s in curves if s != 'floor' and (g := growths.get((s, f.name))) and g.fault}
        panels.append(plot.Panel(f.unit, r.sweep.x_title, curves, marked, r.sweep.log_x))
    return plot.svg(panels)


def faults(found):
    """What grows faster than it should, a line for each."""
    for r in found:
        for (server, _), g in r.growths().items():
            if server != 'floor' and g.fault:
                yield f'{r.sweep.title}: {server}: {g.figure.unit} grows as x^{g.middle:.2f}, which should be {g.should}'


def markdown(found, where, a, most):
    marked = list(faults(found))
    lines = ['# Growth', '', f'Written by `make bench-growth` on {where["date"]}; see growth.py for what is measured and how.', '',
             f'- kernel {where["kernel"]}, {where["cpu"]}, load before and during the run {where["load"]}',
             '- ' + ', '.join(f'{k} {v}' for k, v in where['versions'].items() if v),
             f'- medians of up to {a.runs} rounds with `--scale {a.scale:g}`; a process may have {most:,} descriptors', '',
             f'Grows faster than it should: {"; ".join(marked)}.' if marked else 'Nothing was found that grows faster than it should.', '']
    for r in found:
        name = f'growth-{r.sweep.title}.svg'
        drawn = image(r) if a.results else ''
        if drawn:
            write(os.path.join(os.path.dirname(a.results), name), drawn)
        lines += section(r, name if drawn else '')
    return '\n'.join(lines)


def rounds_in(path):
    """The rounds that --json has written, by sweep."""
    with open(path, encoding='utf-8') as f:
        return json.load(f)['rounds']


def arguments():
    names = [s.title for s in SWEEPS]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', required=True, help='the tcpmux binary')
    p.add_argument('--runs', type=int, default=3, help='rounds, 1 to 50 (default 3)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual work, clients, files and time, up to 10 (default 1)')
    p.add_argument('--seconds', type=float, default=3600, help='how long memory is measured, before --scale (default 3600)')
    p.add_argument('--budget', type=float, default=2400, help='seconds after which no further round begins, without memory (default 2400)')
    p.add_argument('--json', help='write all rounds here')
    p.add_argument('--add', metavar='FILE', help='of what is not measured now, take the rounds of an earlier run from its --json')
    p.add_argument('--results', metavar='FILE', help='replace the section in FILE, and the plots next to it, instead of writing to standard output')
    p.add_argument('--smoke', action='store_true', help='exit 1 if a measurement fails')
    p.add_argument('what', nargs='*', metavar='WHAT', help=f'of {", ".join(names)} (default: all)')
    a = p.parse_args()
    if unknown := set(a.what) - set(names):
        p.error(f'no such measurement: {", ".join(sorted(unknown))}')
    if a.add and not a.what:
        p.error('--add without WHAT: everything is measured now')
    if not 1 <= a.runs <= 50 or not 0 < a.scale <= 10 or a.seconds <= 0:
        p.error('--runs is 1 to 50, --scale above 0 and up to 10, --seconds above 0')
    return a


def main():
    a = arguments()
    most = descriptors()
    found, binary = [], os.path.abspath(a.bin)
    with workplace() as work:
        build(work)
        where = report.circumstances([], binary)
        earlier = rounds_in(a.add) if a.add else {}
        chosen = [s for s in SWEEPS if not a.what or s.title in a.what]
        deadline = time.monotonic() + a.budget
        for sweep in SWEEPS:
            r = (OverTime if sweep is Memory else Results)(sweep(work, a.scale, binary), most)
            r.seconds = a.seconds
            if sweep in chosen:
                r.measure(a.runs, time.monotonic() + (deadline - time.monotonic()) / (len(chosen) - chosen.index(sweep)))
            elif sweep.title in earlier:
                r.recall(earlier[sweep.title])
            else:
                continue
            found.append(r)
        where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
        report.progress()
    text = markdown(found, where, a, most)
    if a.json:
        write(a.json, json.dumps({**where, 'scale': a.scale, 'rounds': {r.sweep.title: r.rounds for r in found}}, indent=1) + '\n')
    if a.results:
        report.place(a.results, 'Growth', text)
        print('\n'.join(faults(found)) or 'nothing grows faster than it should')
    else:
        print(text)
    if a.smoke and (errors := [e for r in found for e in r.errors]):
        sys.exit('\n'.join(errors))


if __name__ == '__main__':
    main()
