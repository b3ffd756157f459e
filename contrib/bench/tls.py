#!/usr/bin/env python3
"""Measures TLS: tcpmux, crypto/tls alone as the floor, and stunnel and socat of Debian, in turns as bench.py does.

  handshakes  visits: connect, make a full handshake, read the greeting, close; 32 at a time
  idle        idle clients that were greeted: memory of the server for each
  messages    32 clients, 100-byte lines, one a write

The load is tcpmux-bench --tls, the certificate an ECDSA key on P-256, the version TLS 1.3. CPU is that of the server alone;
stunnel's includes that of the plain server behind it, which is the floor of bench.py or tcpmux. A kernel that has TLS (the module
tls) has tcpmux let it encrypt, which adds "tcpmux, user space" (survive = "off").
"""
import argparse
import json
import os
import re
import signal
import subprocess
import time

import bench
import report
import servers
from servers import Failed, Peer, Server, workplace, write

WHAT = ('handshakes', 'idle', 'messages')
FIGURES = {
    'handshakes': (('rate', 'handshakes/s'), ('cpu_us', 'µs CPU each')),
    'idle': (('kib', 'KiB a client'),),
    'messages': (('rate', 'messages/s'), ('cpu_ns', 'ns CPU a message')),
}


class Stack(Server):
    """A running peer, and the plain server behind it if there is one."""

    def __init__(self, peer, work):
        self.behind = None
        if peer.behind:
            self.behind = Server(peer.behind, work)
            peer.port_behind = self.behind.port
        try:
            super().__init__(peer, work)
        except Failed:
            self.stop_behind()
            raise

    def stop_behind(self):
        return self.behind.stop() if self.behind else 0

    def stop(self):
        if not hasattr(self, 'total'):
            self.total = super().stop() + self.stop_behind()
        return self.total

    def memory(self):
        return super().memory() + (self.behind.memory() if self.behind else 0)

    def lines_out(self):
        return self.behind or self

    def __exit__(self, *_):
        if self.behind:
            self.behind.__exit__()
        super().__exit__()


class TLSPeer(Peer):
    behind = None
    port_behind = 0


def peer(name, command, behind=None, **more):
    """A server with TLS; behind is the plain one that it needs."""
    p = TLSPeer(name, command, **more)
    p.behind = behind
    return p


def tcpmux(binary, pair, survive=None):
    """tcpmux with TLS, or plain without a pair."""
    def command(port, out, directory):
        tls = f'[tls]\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"\n' + (f'survive = "{survive}"\n' if survive else '') if pair else ''
        config = write(f'{directory}/tcpmux.toml', f'address = "127.0.0.1:{port}"\nbanner = "Welcome connect!\\n"\n{tls}'
                       f'[record]\nfile = "{out}"\nmax_size = "4GiB"\ncompress = false\n')
        return [binary, 'run', '--config', config]
    return command


def stunnel(pair, behind, name):
    def command(port, out, directory):
        config = write(f'{directory}/stunnel.conf', f'foreground = yes\npid =\nsyslog = no\ndebug = err\n[bench]\naccept = 127.0.0.1:{port}\n'
                       f'connect = 127.0.0.1:{p.port_behind}\ncert = {pair[0]}\nkey = {pair[1]}\n')
        return ['stunnel4', config]
    p = peer(name, command, behind, package='stunnel4', needs='stunnel4')
    return p


def peers(binary, work):
    """All servers that are installed, the floor first."""
    pair = certificate(work)
    everybody = [peer('floor', lambda port, out, directory: [f'{work}/tlsfloor', str(port), out, *pair])]
    plain = Peer('plain', lambda port, out, directory: [f'{work}/floor', str(port), out])
    everybody.append(peer('tcpmux', tcpmux(binary, pair)))
    if os.path.exists('/sys/module/tls'):
        everybody.append(peer('tcpmux, user space', tcpmux(binary, pair, 'off')))
    everybody += [
        stunnel(pair, plain, 'stunnel, floor'),
        stunnel(pair, Peer('plain tcpmux', tcpmux(binary, None)), 'stunnel, tcpmux'),
        peer('socat', lambda port, out, directory: [
            'socat', '-u', f'OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096,cert={pair[0]},key={pair[1]},verify=0',
            f'OPEN:{out},creat,append'], package='socat', needs='socat', greets=False, fork=True, slow=True),
    ]
    return [p for p in everybody if not p.needs or servers.shutil.which(p.needs)]


def certificate(work):
    """Makes a certificate; returns the files of it and of its key."""
    pair = f'{work}/cert.pem', f'{work}/key.pem'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', '/CN=localhost',
                    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE',
                    '-keyout', pair[1], '-out', pair[0]], check=True, capture_output=True)
    return pair


class Bench(bench.Bench):
    """Measures a peer; each function as in bench.Bench."""

    def __init__(self, work, scale, load):
        super().__init__(work, scale)
        self.program = load

    def arguments(self, s, peer, *more):
        return [self.program, '--tls', '--insecure', '--json', *map(str, more), *([] if peer.greets else ['--greeting=false']), f'127.0.0.1:{s.port}']

    def run(self, s, peer, *more):
        """The report of tcpmux-bench. Clients that failed are counted in it."""
        try:
            p = subprocess.run(self.arguments(s, peer, *more), capture_output=True, text=True, timeout=90, check=False)
        except subprocess.TimeoutExpired:
            raise Failed('more than 90 s') from None
        if not p.stdout:
            raise Failed(p.stderr.strip().split('\n')[0])
        report = json.loads(p.stdout)
        report['bad'] = sum(report['errors'].values())
        return report

    def handshakes(self, peer):
        with Stack(peer, self.work) as s:
            d = self.run(s, peer, '--workload', 'visits', '--clients', 32, '--count', self.scaled(800 if peer.slow else 3000))
            return {'rate': d['rate'], 'cpu_us': s.stop() / max(d['done'], 1) * 1e6, 'bad': d['bad']}

    def idle(self, peer):
        n = self.scaled(300 if peer.fork else 5000)
        with Stack(peer, self.work) as s:
            before = s.memory()
            with subprocess.Popen(self.arguments(s, peer, '--workload', 'idle', '--clients', n, '--duration', '60s', '--timeout', '60s'),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
                try:
                    self.gathered(s, n)
                    after = s.memory()
                finally:
                    p.send_signal(signal.SIGINT)
                report = json.loads(p.stdout.read() or '{}')
            return {'kib': (after - before) / n, 'clients': n, 'bad': sum(report.get('errors', {}).values())}

    @staticmethod
    def gathered(server, n):
        """Waits until n clients are connected, and the server is at rest."""
        deadline, last, still = time.monotonic() + 60, -1, 0
        while still < 3:
            time.sleep(.3)
            now = used(server.process.pid) + (used(server.behind.process.pid) if server.behind else 0)
            still = still + 1 if connected(server.port) >= n and now == last else 0
            last = now
            if time.monotonic() > deadline:
                raise Failed(f'{connected(server.port)} of {n} are connected, or the server is not at rest')

    def messages(self, peer):
        clients, count, size = 32, self.scaled(2500), 100
        with Stack(peer, self.work) as s:
            d = self.run(s, peer, '--workload', 'lines', '--clients', clients, '--count', count, '--size', size)
            sent, behind = clients * count, s.lines_out()
            lag = self.wait_for(behind, sent * size)
            cpu, took = s.stop(), d['seconds'] + lag
            return {'rate': sent / took, 'cpu_ns': cpu / sent * 1e9, 'bad': d['bad'], 'whole': behind.whole_lines(size), 'sent': sent}


def used(group):
    """The CPU that the processes of a group have used, in ticks."""
    total = 0
    for path in servers.glob.glob('/proc/[0-9]*/stat'):
        with servers.contextlib.suppress(OSError):
            with open(path, encoding='utf-8', errors='replace') as f:
                text = f.read()
            fields = text[text.rindex(')') + 2:].split()
            if int(fields[2]) == group:
                total += int(fields[11]) + int(fields[12])
    return total


def connected(port):
    """The number of connections of a server's port, on its side."""
    with open('/proc/net/tcp', encoding='ascii') as f:
        return len(re.findall(rf'^ *\d+: [0-9A-F]{{8}}:{port:04X} \S+ 01 ', f.read(), re.MULTILINE))


def markdown(where, summary, runs, scale):
    lines = ['# TLS', '', f'Written by `make bench-tls` on {where["date"]}; see tls.py for what is measured and how.', '',
             f'- kernel {where["kernel"]}, {"with" if os.path.exists("/sys/module/tls") else "without"} TLS of its own, {where["cpu"]}, '
             f'load before and during the run {where["load"]}',
             '- ' + ', '.join(f'{k} {v}' for k, v in where['versions'].items() if v),
             f'- medians of up to {runs} rounds with `--scale {scale:g}`; in each round all servers take turns', '',
             'Compare the ratios, which are relative to a server of 60 lines with crypto/tls in the same round. The load shares the processors',
             'and makes its half of each handshake, so the rate is no more than a bound from below: the CPU is the server\'s alone.', '']
    return '\n'.join(lines) + '\n' + report.tables(summary, FIGURES, __doc__)


def build(work):
    servers.build(work)
    subprocess.check_call(['go', 'build', '-o', f'{work}/tlsfloor', './contrib/bench/tlsfloor'], cwd=f'{servers.HERE}/../..')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', required=True, help='the tcpmux binary')
    p.add_argument('--load', required=True, help='the tcpmux-bench binary')
    p.add_argument('--runs', type=int, default=5, help='rounds (default 5)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual amount of work (default 1)')
    p.add_argument('--budget', type=float, default=600, help='seconds after which no further round begins (default 600)')
    p.add_argument('--only', help='only these servers, separated by semicolons; the floor is always measured')
    p.add_argument('--results', metavar='FILE', help='replace the section in FILE instead of writing to standard output')
    p.add_argument('what', nargs='*', metavar='WHAT', help=f'of {", ".join(WHAT)} (default: all)')
    a = p.parse_args()
    if unknown := set(a.what) - set(WHAT):
        p.error(f'no such measurement: {", ".join(sorted(unknown))}')
    with workplace() as work:
        build(work)
        everybody = peers(os.path.abspath(a.bin), work)
        if a.only:
            wanted = {'floor', *(n.strip() for n in a.only.split(';'))}
            everybody = [x for x in everybody if x.name in wanted]
        where = report.circumstances(everybody, a.bin)
        results = bench.measure(everybody, a.what or WHAT, Bench(work, a.scale, os.path.abspath(a.load)), a.runs, a.budget)
        where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
    text = markdown(where, report.summarize(results, FIGURES), a.runs, a.scale)
    if a.results:
        report.place(a.results, 'TLS', text)
    else:
        print(text)


if __name__ == '__main__':
    main()
