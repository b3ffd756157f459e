#!/usr/bin/env python3
"""Measures latencies of tcpmux, the floor and the peers in Debian, in turns as bench.py does.

  record  64 clients send 2,000 lines of 100 bytes a second: until the line is in the record file
  ack     the same with acknowledgements and sync = "always": until the client has the acknowledgement

Each line is due at a fixed time, whatever the server does, and its latency counts from then (no coordinated omission; pace.c).
Where servers acknowledge nothing, there is no second figure. The floor writes to disk and acknowledges too there.
"""
import bench
import report
from servers import ACK, Failed, Peer, Server

WHAT = ('record', 'ack')
FIGURES = {what: (('p50', 'µs, 50 %'), ('p99', 'µs, 99 %'), ('p999', 'µs, 99.9 %')) for what in WHAT}
CLIENTS, RATE, SECONDS, SIZE = 64, 2000, 10, 100


class Bench(bench.Bench):
    """Measures a peer; each function as in bench.Bench."""

    def pace(self, server, *arguments):
        return self.printed('pace', 'lines', server.port, *arguments)

    def record(self, peer):
        if peer.serial or peer.name == 'reference process':  # as in bench.Bench.talk
            return None
        return self.latencies(peer, 'rec')

    def ack(self, peer):
        return self.latencies(Peer(peer.name, peer.acks), 'ack') if peer.acks else None

    def latencies(self, peer, kind):
        seconds = max(SECONDS * self.scale, .2)
        with Server(peer, self.work) as s:
            file, ack = (s.out, 0) if kind == 'rec' else ('-', len(ACK))
            d = self.pace(s, CLIENTS, RATE, seconds, SIZE, int(peer.greets), file, ack)
        if not d[f'{kind}_n']:
            raise Failed('no line has arrived')
        found = {p: d[f'{kind}_{p}'] for p in ('p50', 'p99', 'p999')}
        return {**found, 'late': d['late_p99'], 'bad': d['bad'], 'whole': int(d[f'{kind}_n']), 'sent': int(d['msgs'])}


def annotate(run):
    """Says which servers acknowledge nothing, and where the load was no better than what it measured."""
    for what, by_name in run.results.items():
        for p in run.everybody:
            rounds = [r for r in by_name[p.name] if r and 'error' not in r]
            entry = run.summary[what].setdefault(p.name, {'runs': 0, 'error': None, 'bad': None})
            if not by_name[p.name] or by_name[p.name][0] is None:
                entry['note'] = 'acknowledges nothing' if what == 'ack' else 'not for several clients at once'
            elif rounds and (late := report.statistics.median(r['late'] for r in rounds)) > entry['p99'] / 2:
                entry['note'] = f'the load itself was {report.number(late)} µs late (99 %)'


def main():
    a = bench.arguments(WHAT, __doc__, 'exit 1 if the floor or tcpmux lose a line or an acknowledgement')
    r = bench.Run(a, Bench, FIGURES)
    annotate(r)
    r.write('Latency', [
        f'Written by `make bench-latency` on {r.where["date"]}; see latency.py for what is measured and how.',
        'Ratios are relative to the floor in the same round. Load and server share the processors, so that part of each latency is that of',
        'the scheduler, with every server.'], __doc__)
    if a.smoke:
        r.smoke()


if __name__ == '__main__':
    main()
