#!/usr/bin/env python3
"""Measures proxies of TCP: tcpmux (proxy = …), haproxy in TCP mode and socat of Debian, in turns as bench.py does.

  bulk       4 clients at a time fetch 64 MiB each
  exchanges  16 clients, 500 times each: 200 bytes there, 2,000 back
  visits     16 clients at a time: connect, 200 bytes there, 2,000 back, close

CPU is that of the proxy alone, with the children that it has waited for: client and upstream are processes of this script.
"haproxy, splice" has option splice-auto. tcpmux moves bulk by splice(2) by itself.
"""
import argparse
import concurrent.futures
import multiprocessing
import os
import signal
import socket
import struct
import threading
import time

import bench
import report
import servers
from servers import Failed, Peer, Server, workplace, write

WHAT = ('bulk', 'exchanges', 'visits')
FIGURES = {
    'bulk': (('mb_s', 'MB/s'), ('cpu_ns', 'ns CPU a KiB')),
    'exchanges': (('rate', 'exchanges/s'), ('cpu_us', 'µs CPU each')),
    'visits': (('rate', 'visits/s'), ('cpu_us', 'µs CPU each')),
}
BASE = 'haproxy, TCP mode'
CHUNK = 256 << 10
HEAD = struct.Struct('!QQ')  # how much is asked for at a time, and how much that takes


def receive(c, n, buf):
    """Takes n bytes."""
    while n > 0:
        got = c.recv_into(buf, min(n, len(buf)))
        if not got:
            raise Failed('the connection has ended early')
        n -= got


def answer(c):
    """Serves one connection of the upstream: the first bytes say what is to be sent for each question."""
    buf, text = bytearray(CHUNK), bytes(CHUNK)
    with c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            question = b''
            while len(question) < HEAD.size:
                more = c.recv(HEAD.size - len(question))
                if not more:
                    return
                question += more
            size, ask = HEAD.unpack(question)
            while True:
                left = size
                while left > 0:
                    left -= c.send(text[:left] if left < CHUNK else text)
                receive(c, ask, buf)
        except (Failed, OSError):
            pass


def upstream(ready):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with socket.create_server(('127.0.0.1', 0), backlog=4096) as ln:
        ready.put(ln.getsockname()[1])
        while True:
            c, _ = ln.accept()
            threading.Thread(target=answer, args=(c,), daemon=True).start()


def fetch(port, size, ask, times):
    """Asks times times for size bytes, with ask bytes each, on one connection."""
    buf, question = bytearray(CHUNK), bytes(ask)
    with socket.create_connection(('127.0.0.1', port), timeout=60) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.sendall(HEAD.pack(size, ask))
        for n in range(times):
            if n:
                c.sendall(question)
            receive(c, size, buf)


def load(port, clients, visits, size, ask, times):
    """Has clients make that many visits together; returns the seconds."""
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for f in [pool.submit(fetch, port, size, ask, times) for _ in range(visits)]:
            try:
                f.result()
            except OSError as e:
                raise Failed(str(e)) from None
    return time.monotonic() - start


def tcpmux(binary, to):
    def command(port, out, directory):
        config = write(f'{directory}/tcpmux.toml', f'address = "127.0.0.1:{port}"\nproxy = "127.0.0.1:{to}"\n[record]\nfile = "{out}"\nevents = false\n')
        return [binary, 'run', '--config', config]
    return command


def haproxy(to, option):
    def command(port, out, directory):
        config = write(f'{directory}/haproxy.cfg', f'''global
  maxconn 2000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  {option}
listen bench
  bind 127.0.0.1:{port}
  server upstream 127.0.0.1:{to}
''')
        return ['haproxy', '-db', '-f', config]
    return command


def peers(binary, to):
    everybody = [
        Peer(BASE, haproxy(to, ''), package='haproxy', needs='haproxy'),
        Peer('haproxy, splice', haproxy(to, 'option splice-auto'), package='haproxy', needs='haproxy'),
        Peer('tcpmux', tcpmux(binary, to)),
        Peer('socat', lambda port, out, directory: [
            'socat', f'TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096', f'TCP:127.0.0.1:{to}'],
            package='socat', needs='socat', fork=True, slow=True),
    ]
    return [p for p in everybody if not p.needs or servers.shutil.which(p.needs)]


class Bench(bench.Bench):
    """Measures a proxy; each function as in bench.Bench."""

    def bulk(self, peer):
        size, clients = self.scaled(64 << 20), 4
        with Server(peer, self.work) as s:
            took, total = load(s.port, clients, clients, size, 1, 1), size * clients
            return {'mb_s': total / took / 1e6, 'cpu_ns': s.stop() / total * 1024e9, 'bad': 0}

    def exchanges(self, peer):
        clients, times = 16, self.scaled(500)
        with Server(peer, self.work) as s:
            took, total = load(s.port, clients, clients, 2000, 200, times), clients * times
            return {'rate': total / took, 'cpu_us': s.stop() / total * 1e6, 'bad': 0}

    def visits(self, peer):
        clients, visits = 16, self.scaled(300 if peer.fork else 3000)
        with Server(peer, self.work) as s:
            took = load(s.port, clients, visits, 2000, 200, 1)
            return {'rate': visits / took, 'cpu_us': s.stop() / visits * 1e6, 'bad': 0}


def markdown(where, summary, runs, scale):
    lines = ['# Proxy', '', f'Written by `make bench-proxy` on {where["date"]}; see proxy.py for what is measured and how.', '',
             f'- kernel {where["kernel"]}, {where["cpu"]}, load before and during the run {where["load"]}',
             '- ' + ', '.join(f'{k} {v}' for k, v in where['versions'].items() if v),
             f'- medians of up to {runs} rounds with `--scale {scale:g}`; in each round all servers take turns', '',
             f'Compare the ratios, which are relative to {BASE} in the same round. The load shares the processors, so the rate is no more than a',
             'bound from below: the CPU is the proxy\'s alone.', '']
    return '\n'.join(lines) + '\n' + report.tables(summary, FIGURES, __doc__)


def measure(everybody, a, work):
    """The medians, with the base as the floor."""
    results = bench.measure(everybody, a.what or WHAT, Bench(work, a.scale), a.runs, a.budget)
    for by_name in results.values():
        by_name['floor'] = by_name.get(BASE, [])
    summary = report.summarize(results, FIGURES)
    for by_name in summary.values():
        by_name.pop('floor', None)
    return summary


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', required=True, help='the tcpmux binary')
    p.add_argument('--runs', type=int, default=5, help='rounds (default 5)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual amount of work (default 1)')
    p.add_argument('--budget', type=float, default=600, help='seconds after which no further round begins (default 600)')
    p.add_argument('--results', metavar='FILE', help='replace the section in FILE instead of writing to standard output')
    p.add_argument('what', nargs='*', metavar='WHAT', help=f'of {", ".join(WHAT)} (default: all)')
    a = p.parse_args()
    if unknown := set(a.what) - set(WHAT):
        p.error(f'no such measurement: {", ".join(sorted(unknown))}')
    return a


def main():
    a = arguments()
    with workplace() as work:
        ready = multiprocessing.Queue()
        behind = multiprocessing.Process(target=upstream, args=(ready,), daemon=True)
        behind.start()
        try:
            everybody = peers(os.path.abspath(a.bin), ready.get())
            where = report.circumstances(everybody, a.bin)
            summary = measure(everybody, a, work)
        finally:
            behind.terminate()
        where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
    text = markdown(where, summary, a.runs, a.scale)
    if a.results:
        report.place(a.results, 'Proxy', text)
    else:
        print(text)


if __name__ == '__main__':
    main()
