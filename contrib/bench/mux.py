#!/usr/bin/env python3
"""Measures what a mux (RFC 1078) adds to a visit: CPU of the server, visits a second. Linux, gcc.

  visits  64 clients at a time connect, send a line if they do, read the greeting and close

A visitor of the first server sends a line, which is recorded. One of the second is at a mux, and names the listener before that.
The third names it and sends nothing more, and the last sends nothing at all.
"""
import argparse
import os

import bench
import report
from servers import Failed, Peer, Server, build, tcpmux, workplace

FIGURES = {'visits': (('rate', 'visits/s'), ('cpu_us', 'µs CPU a visit'))}
BASE = 'a line'
NAME = 'scan'
SENT = {BASE: 'hello', 'a name, a line': f'{NAME}\r\nhello', 'a name': NAME, 'nothing': ''}  # and CRLF
MUX = f'[[listener]]\nname = "front"\naddress = "127.0.0.1:%d"\nmux = ["{NAME}"]\n[[listener]]\nname = "{NAME}"\n'


def plain(binary):
    return tcpmux(binary, 'goroutine')


def muxed(binary):
    """A mux at the port that is asked for. The main listener is at another port, which nobody knows."""
    def command(port, out, directory):
        return tcpmux(binary, 'goroutine', rest=MUX % port)(0, out, directory)
    return command


def servers(binary):
    return [Peer(name, (muxed if NAME in sent else plain)(binary)) for name, sent in SENT.items()]


class Bench(bench.Bench):
    """Measures one kind of visit."""

    def visits(self, peer):
        with Server(peer, self.work) as s:
            d = self.load('greet', s.port, self.scaled(10000), 64, SENT[peer.name])
            if d['bad']:
                raise Failed(f'{d["bad"]:.0f} clients failed')
            return {'rate': d['rate'], 'cpu_us': s.stop() / d['total'] * 1e6, 'bad': 0}


def markdown(where, summary, runs, scale):
    return '\n'.join([
        '# Mux', '', f'Written by `make bench-mux` on {where["date"]}; see mux.py for what is measured and how.', '',
        f'- kernel {where["kernel"]}, {where["cpu"]}, load before and during the run {where["load"]}',
        f'- medians of up to {runs} rounds with `--scale {scale:g}`; in each round all servers take turns', '',
        f'Compare the ratios, which are relative to "{BASE}" in the same round.', '', '']) + report.tables(summary, FIGURES, __doc__)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', required=True, help='the tcpmux binary')
    p.add_argument('--runs', type=int, default=11, help='rounds (default 11)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual amount of work (default 1)')
    p.add_argument('--budget', type=float, default=300, help='seconds after which no further round begins (default 300)')
    p.add_argument('--results', metavar='FILE', help='replace the section in FILE instead of writing to standard output')
    a = p.parse_args()
    with workplace() as work:
        build(work)
        everybody = servers(os.path.abspath(a.bin))
        where = report.circumstances(everybody, a.bin)
        results = bench.measure(everybody, list(FIGURES), Bench(work, a.scale), a.runs, a.budget)
    for by_name in results.values():
        by_name['floor'] = by_name[BASE]
    summary = report.summarize(results, FIGURES)
    for by_name in summary.values():
        by_name.pop('floor')
    where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
    text = markdown(where, summary, a.runs, a.scale)
    if a.results:
        report.place(a.results, 'Mux', text)
    else:
        print(text)


if __name__ == '__main__':
    main()
