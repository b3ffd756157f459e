#!/usr/bin/env python3
"""Measures tcpmux, the floor and the peers in Debian side by side, and writes the results.

  greet   visits: connect, read the greeting, close; 64 at a time
  hold    idle clients that were greeted: memory of the server for each
  record  16 clients, 256-byte lines, 64 lines a write: volume
  lines   64 clients, 100-byte lines, one a write
  many    2,000 clients, one 100-byte line each a round

Every server is measured in every round, one after the other, so that other load on the machine affects all of them. Each
figure is the median over the rounds. Its ratio is the median of the ratios to the floor's figure in the same round. CPU is
that of the server since it listens, with the children that it has waited for. Servers that are not installed are left out.
tcpmux of the parent commit takes part, as "base": the ratios new/base are those of rounds too, with the interval in which
their median is.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

import base
import report
from servers import HERE, Failed, Server, build, peers, workplace, write

PARENT = 'HEAD^'
WHAT = ('greet', 'hold', 'record', 'lines', 'many')
# The figures: name and unit.
FIGURES = {
    'greet': (('rate', 'visits/s'), ('cpu_us', 'µs CPU a visit')),
    'hold': (('kib', 'KiB a client'),),
    'record': (('mb_s', 'MB/s'), ('cpu_ns', 'ns CPU a message')),
    'lines': (('rate', 'messages/s'), ('cpu_ns', 'ns CPU a message')),
    'many': (('rate', 'messages/s'), ('cpu_ns', 'ns CPU a message')),
}


class Bench:
    """Measures a peer. There is a function for each workload: it returns a dict of figures, or None if the peer cannot do that."""

    def __init__(self, work, scale):
        self.work, self.scale = work, scale

    def scaled(self, n):
        return max(int(n * self.scale), 1)

    def load(self, *arguments):
        return self.printed('load', *arguments)

    def printed(self, program, *arguments, timeout=90):
        """What load or pace has printed, by name."""
        try:
            p = subprocess.run([f'{self.work}/{program}', *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                               check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f'more than {timeout:.0f} s') from None
        if p.returncode:
            raise Failed(p.stderr.strip().split('\n')[0])
        return {k: float(v) for k, v in re.findall(r'(\w+)=([\d.]+)', p.stdout)}

    def greet(self, peer):
        if not peer.greets:
            return None
        with Server(peer, self.work) as s:
            d = self.load('greet', s.port, self.scaled(500 if peer.slow else 10000), 1 if peer.serial else 64)
            return {'rate': d['rate'], 'cpu_us': s.stop() / d['total'] * 1e6, 'bad': d['bad']}

    def hold(self, peer):
        if not peer.greets or peer.serial:
            return None
        n = self.scaled(peer.held)
        with Server(peer, self.work) as s:
            before = s.memory()
            with subprocess.Popen([f'{self.work}/load', 'hold', str(s.port), str(n), '3'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
                line = p.stdout.readline()
                time.sleep(1)
                after = s.memory()
            told = dict(re.findall(r'(\w+)=([\d.]+)', line))
            if float(told.get('n', 0)) < n:
                raise Failed(f'{told.get("n", 0)} of {n} were greeted')
            return {'kib': (after - before) / n, 'clients': n, 'bad': float(told['bad'])}

    def record(self, peer):
        count = 20000 if peer.name.startswith('reference') else 60000
        return self.talk(peer, 'record', 16, self.scaled(count), 256, 64)

    def lines(self, peer):
        return self.talk(peer, 'record', 64, self.scaled(5000), 100, 1)

    def many(self, peer):
        return None if peer.fork else self.talk(peer, 'trickle', min(2000, self.scaled(20000)), self.scaled(100), 100)

    def talk(self, peer, kind, clients, count, size, *per_write):
        if peer.serial or peer.name == 'reference process':  # the latter keeps the last connection open until the next one comes
            return None
        sent = clients * count
        with Server(peer, self.work) as s:
            d = self.load(kind, s.port, clients, count, size, *per_write, int(peer.greets))
            lag = self.wait_for(s, sent * size)
            cpu, took = s.stop(), d['secs'] + lag
            return {'rate': sent / took, 'mb_s': sent * size / took / 1e6, 'cpu_ns': cpu / sent * 1e9, 'bad': d['bad'],
                    'whole': s.whole_lines(size), 'sent': sent}

    @staticmethod
    def wait_for(server, size):
        """Waits until the records are in the file, or no more arrive; returns the seconds."""
        start, last, since = time.monotonic(), -1, time.monotonic()
        while server.recorded() < size:
            if server.recorded() != last:
                last, since = server.recorded(), time.monotonic()
            if time.monotonic() - since > 2:
                break
            time.sleep(.01)
        return time.monotonic() - start


def measure(everybody, whats, bench, runs, budget):
    """results[what][name] is a list of figures, one for each round; a dict with 'error' if one failed.

    The order changes from round to round, so that no server always comes behind the same other one.
    """
    deadline = time.monotonic() + budget
    results = {what: {p.name: [] for p in everybody} for what in whats}
    for what in whats:
        share = time.monotonic() + (deadline - time.monotonic()) / (len(whats) - whats.index(what))
        longest = 0
        for n in range(runs):
            start = time.monotonic()
            if n and start + longest > share:
                report.tell(f'{what}: the time is over after {n} of {runs} runs')
                break
            for p in everybody[::1 if n % 2 == 0 else -1]:
                if any(r is None or 'error' in r for r in results[what][p.name]):
                    continue
                report.progress(f'{what} {n + 1}/{runs}: {p.name}')
                try:
                    results[what][p.name].append(getattr(bench, what)(p))
                except (Failed, OSError) as e:
                    results[what][p.name].append({'error': str(e)})
            longest = max(longest, time.monotonic() - start)
    report.progress()
    return results


def arguments(whats, doc, smoke):
    """The arguments, as those that tls.py and the like do not have too. what is empty for all."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', help='the tcpmux binary; without it tcpmux is not measured')
    p.add_argument('--base', metavar='COMMIT', default=PARENT, help=f'the commit to compare with, or "none" (default {PARENT})')
    p.add_argument('--base-bin', metavar='FILE', help='the binary to compare with, instead of building one')
    p.add_argument('--runs', type=int, default=5, help='rounds, 1 to 50 (default 5)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual amount of work, up to 10 (default 1)')
    p.add_argument('--budget', type=float, default=840, help='seconds after which no further round begins (default 840)')
    p.add_argument('--only', help='only these servers, separated by commas, such as "tcpmux,socat"; the floor is always measured')
    p.add_argument('--json', help='write all rounds and the medians here')
    p.add_argument('--markdown', metavar='FILE', help='replace the section of FILE instead of writing to standard output')
    p.add_argument('--smoke', action='store_true', help=smoke)
    p.add_argument('what', nargs='*', metavar='WHAT', help=f'of {", ".join(whats)} (default: all)')
    a = p.parse_args()
    a.what = a.what or list(whats)
    if unknown := set(a.what) - set(whats):
        p.error(f'no such measurement: {", ".join(sorted(unknown))}')
    if not 1 <= a.runs <= 50 or not 0 < a.scale <= 10:
        p.error('--runs is 1 to 50, --scale above 0 and up to 10')
    if a.bin:
        a.bin = os.path.abspath(a.bin)
    return a


def chosen(everybody, only):
    """Those that --only names, the floor, and the base of each."""
    if not only:
        return everybody
    wanted = {'floor', *(n.strip() for n in only.split(','))}
    if unknown := wanted - {n for p in everybody for n in (p.name, p.family)}:
        sys.exit(f'not here: {", ".join(sorted(unknown))}; there are {", ".join(p.name for p in everybody)}')
    by_name = {p.name: p for p in everybody}
    names = {p.name for p in everybody if {p.name, p.family} & wanted}
    return [p for p in everybody if p.name in names or by_name.get(p.base_of) and p.base_of in names]


def find_base(a):
    """The binary to compare with and its name; two times None if there is none."""
    if not a.bin or a.base == 'none':
        return None, None
    if a.base_bin:
        return os.path.abspath(a.base_bin), f'`{a.base_bin}`'
    try:
        return base.build(a.base, f'{HERE}/../../build/base')
    except base.NoBase as e:
        if a.base != PARENT:
            sys.exit(f'bench: --base: {e}')
        report.tell(f'bench: {e}. Going on without it')
        return None, None


class Run:
    """One run of measurements, with its results."""

    def __init__(self, a, bench, figures):
        base_binary, self.label = find_base(a)
        self.a, self.figures = a, figures
        with workplace() as work:
            build(work)
            self.everybody = chosen(peers(a.bin, work, base_binary), a.only)
            self.where = report.circumstances(self.everybody, a.bin)
            self.results = measure(self.everybody, a.what, bench(work, a.scale), a.runs, a.budget)
            self.where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
        self.summary = report.summarize(self.results, figures)
        self.compared = base.compare(self.results, figures, [(p.base_of, p.name) for p in self.everybody if p.base_of])

    def write(self, title, intro, doc):
        """Writes what the arguments ask for. The text begins with intro, a list of lines."""
        a, w = self.a, self.where
        lines = [f'# {title}', '', *intro[:1], '',
                 f'- kernel {w["kernel"]}, {w["cpu"]}, load before and during the run {w["load"]}',
                 '- ' + ', '.join(f'{k} {v}' for k, v in w['versions'].items() if v),
                 f'- medians of up to {a.runs} rounds with `--scale {a.scale:g}`; in each round all servers take turns', '', *intro[1:], '']
        text = '\n'.join(lines) + '\n' + (base.markdown(self.compared, self.label) if self.compared else '') + report.tables(self.summary, self.figures, doc)
        if a.json:
            write(a.json, json.dumps({**w, 'scale': a.scale, 'base': self.label, 'compared': self.compared, 'summary': self.summary,
                                      'rounds': self.results}, indent=1) + '\n')
        if not a.markdown:
            print(text)
            return
        report.place(a.markdown, title, text)
        if self.compared:
            print(base.plain(self.compared, self.label))

    def smoke(self):
        """Ends with status 1 if something went wrong that must not on any machine."""
        names = [p.name for p in self.everybody if p.family in ('floor', 'tcpmux')]
        if found := list(report.faults(self.summary, names)):
            sys.exit('\n'.join(found))


def main():
    a = arguments(WHAT, __doc__, 'exit 1 if the floor or tcpmux fail a client or lose a record')
    r = Run(a, Bench, FIGURES)
    r.write('Results', [
        f'Written by `make bench` on {r.where["date"]}; see bench.py for what is measured and how.',
        'Compare the ratios. Each is relative to the floor in the same round: a one-thread C server that does the same work and nothing',
        'else. The absolute figures are those of a machine that is shared with others, and change from hour to hour.'], __doc__)
    if a.smoke:
        r.smoke()


if __name__ == '__main__':
    main()
