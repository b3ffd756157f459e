#!/usr/bin/env python3
"""Measures tcpmux, the floor and the peers in Debian side by side, and writes the results.

  greet   visits: connect, read the greeting, close; 64 at a time
  hold    idle clients that were greeted: memory of the server for each
  record  16 clients, 256-byte lines, 64 lines a write: volume
  lines   64 clients, 100-byte lines, one a write
  many    2,000 clients, one 100-byte line each a round

Every server is measured in every round, one after the other, so that other load on the machine affects all of them. Each
figure is the median over the rounds. Its ratio is the median of the ratios to the floor's figure in the same round. CPU is
that of the server, with the children that it has waited for. Servers that are not installed are left out.
"""
import argparse
import contextlib
import datetime
import glob
import json
import mmap
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Callable, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(HERE, '..', 'reference')
GREETING = 'Welcome connect!\n'
WHAT = ('greet', 'hold', 'record', 'lines', 'many')
# The figures: name and unit.
FIGURES = {
    'greet': (('rate', 'visits/s'), ('cpu_us', 'µs CPU a visit')),
    'hold': (('kib', 'KiB a client'),),
    'record': (('mb_s', 'MB/s'), ('cpu_ns', 'ns CPU a message')),
    'lines': (('rate', 'messages/s'), ('cpu_ns', 'ns CPU a message')),
    'many': (('rate', 'messages/s'), ('cpu_ns', 'ns CPU a message')),
}


@dataclass
class Peer:
    """A server and what it can do. command(port, out, directory) is how it is started."""
    name: str
    command: Callable
    package: Optional[str] = None  # Debian's
    needs: Optional[str] = None    # a command
    greets: bool = True
    stdout: bool = False           # its standard output is the record file
    slow: bool = False             # fewer visits, or it would take minutes
    fork: bool = False             # a process a client
    thread: bool = False           # a thread a client, in Python
    serial: bool = False           # one client at a time

    @property
    def family(self):
        """The name for --only that selects all models of one program: tcpmux, reference."""
        return self.name.split()[0]


def write(path, text, mode=0o644):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def tcpmux(binary, model):
    def command(port, out, directory):
        config = write(f'{directory}/tcpmux.toml', f'address = "127.0.0.1:{port}"\nbanner = "Welcome connect!\\n"\nmodel = "{model}"\n'
                       f'[record]\nfile = "{out}"\nmax_size = "4GiB"\ncompress = false\n')
        return [binary, 'run', '--config', config]
    return command


def models(binary, work):
    """The models that tcpmux accepts."""
    for model in ('goroutine', 'thread', 'process'):
        config = write(f'{work}/model.toml', f'model = "{model}"\n')
        if subprocess.run([binary, 'check', config], capture_output=True, check=False).returncode == 0:
            yield model


def reference(model):
    """A reference server with a usual backlog: otherwise only its backlog of 5 would be measured."""
    code = (f'import sys; sys.path.insert(0, {REFERENCE!r}); import server_{model} as m; '
            'next(c for n, c in vars(m).items() if n.startswith("Server"))("127.0.0.1", int(sys.argv[1]), 4096).server_start()')
    return lambda port, out, directory: [sys.executable, '-B', '-u', '-c', code, str(port)]


def xinetd(port, out, directory):
    script = write(f'{directory}/record', f'#!/bin/sh\nexec cat >>{out}\n', 0o755)
    banner = write(f'{directory}/banner', GREETING)
    config = write(f'{directory}/xinetd.conf', f'''defaults
{{
	instances = UNLIMITED
	cps = 100000 1
}}
service bench
{{
	type = UNLISTED
	socket_type = stream
	protocol = tcp
	wait = no
	user = {os.environ.get("USER") or "root"}
	bind = 127.0.0.1
	port = {port}
	banner = {banner}
	server = {script}
}}
''')
    return ['xinetd', '-dontfork', '-f', config, '-pidfile', f'{directory}/pid']


def rsyslog(port, out, directory):
    config = write(f'{directory}/rsyslog.conf', f'''global(workDirectory="{directory}" maxMessageSize="64k")
module(load="imtcp" MaxSessions="100000")
template(name="t" type="string" string="from %fromhost-ip%: %rawmsg%\\n")
ruleset(name="r" queue.type="direct") {{
	action(type="omfile" file="{out}" template="t" ioBufferSize="64k" flushOnTXEnd="on")
}}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="r")
''')
    return ['rsyslogd', '-n', '-f', config, '-i', f'{directory}/pid']


def peers(binary, work):
    """All servers that are installed, the floor first."""
    everybody = [Peer('floor', lambda port, out, directory: [f'{work}/floor', str(port), out])]
    if binary:
        everybody += [Peer(f'tcpmux {m}', tcpmux(binary, m)) for m in models(binary, work)]
    everybody += [
        Peer('tcpserver', lambda port, out, directory: [
            'tcpserver', '-c', '100000', '-b', '4096', '-H', '-R', '-l', '0', '-B', GREETING, '127.0.0.1', str(port),
            'sh', '-c', f'exec cat >>{out}'], package='ucspi-tcp', needs='tcpserver', slow=True, fork=True),
        Peer('socat', lambda port, out, directory: [
            'socat', '-u', f'TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096', f'OPEN:{out},creat,append'],
            package='socat', needs='socat', greets=False, slow=True, fork=True),
        Peer('ncat', lambda port, out, directory: ['ncat', '-lk', '-m', '100000', '--recv-only', '127.0.0.1', str(port)],
             package='ncat', needs='ncat', greets=False, stdout=True),
        Peer('xinetd', xinetd, package='xinetd', needs='xinetd', slow=True, fork=True),
        Peer('rsyslog imtcp', rsyslog, package='rsyslog', needs='rsyslogd', greets=False),
        Peer('reference process', reference('process'), package='python3', stdout=True, slow=True, fork=True),
        Peer('reference thread', reference('thread'), package='python3', stdout=True, slow=True, thread=True),
        Peer('reference coroutine', reference('coroutine'), package='python3', stdout=True, slow=True, serial=True),
    ]
    return [p for p in everybody if not p.needs or shutil.which(p.needs)]


class Failed(Exception):
    """A measurement that failed, described in a line."""


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


def listens(port):
    """Whether a server listens on port, without connecting to it: that would count as a visit."""
    for table in glob.glob('/proc/net/tcp*'):
        with open(table, encoding='ascii') as f:
            next(f)
            for line in f:
                _, local, _, state, _ = line.split(None, 4)
                if state != '0A':
                    break  # those that listen come first; tens of thousands in TIME_WAIT may follow
                if local.endswith(f':{port:04X}'):
                    return True
    return False


class Server:
    """A running peer, in a directory and a process group of its own."""
    running = set()

    def __init__(self, peer, work):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(dir=work)
        self.out = f'{self.directory}/out'
        self.cpu = None
        with open(self.out if peer.stdout else f'{self.directory}/stdout', 'ab') as stdout, open(f'{self.directory}/stderr', 'wb') as stderr:
            self.process = subprocess.Popen(peer.command(self.port, self.out, self.directory), stdin=subprocess.DEVNULL,
                                            stdout=stdout, stderr=stderr, cwd=self.directory, start_new_session=True)
        Server.running.add(self)
        deadline = time.monotonic() + 10
        while not listens(self.port):
            if self.has_ended() or time.monotonic() > deadline:
                with open(f'{self.directory}/stderr', encoding='utf-8', errors='replace') as f:
                    said = f.read().strip().split('\n')[-1]
                self.stop()
                raise Failed(f'it does not listen: {said}')
            time.sleep(.02)

    def has_ended(self):
        """Whether it has ended. The process is not reaped, so that its PID is not reused."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self):
        """Ends the server and its group; returns its CPU seconds, and those of the children it has waited for."""
        if self.cpu is not None:
            return self.cpu
        time.sleep(.1)  # children that end just now are waited for
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(.02)
        return self.kill()

    def kill(self):
        """Kills what is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        Server.running.discard(self)
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = used.ru_utime + used.ru_stime
        return self.cpu

    def recorded(self):
        """Bytes in the record files."""
        return sum(os.path.getsize(f) for f in glob.glob(f'{self.out}*'))

    def whole_lines(self, size):
        """The number of lines from load that were recorded whole: one letter, repeated up to the line end."""
        line = re.compile(rb'([a-z])\1{%d}\n' % (size - 2))
        n = 0
        for name in glob.glob(f'{self.out}*'):
            if os.path.getsize(name):
                with open(name, 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    n += sum(1 for _ in line.finditer(data))
        return n

    def memory(self):
        """KiB of the server and its children; shared memory is divided among them (PSS)."""
        children = {}
        for path in glob.glob('/proc/[0-9]*/stat'):
            with contextlib.suppress(OSError):
                with open(path, encoding='utf-8', errors='replace') as f:
                    text = f.read()
                children.setdefault(int(text[text.rindex(')') + 2:].split()[1]), []).append(int(path.split('/')[2]))
        total, todo = 0, [self.process.pid]
        while todo:
            pid = todo.pop()
            todo += children.get(pid, [])
            with contextlib.suppress(OSError):
                with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
                    total += int(re.search(r'^Pss:\s+(\d+)', f.read(), re.MULTILINE)[1])
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Bench:
    """Measures a peer. There is a function for each workload: it returns a dict of figures, or None if the peer cannot do that."""

    def __init__(self, work, scale):
        self.work, self.scale = work, scale

    def scaled(self, n):
        return max(int(n * self.scale), 1)

    def load(self, *arguments):
        try:
            p = subprocess.run([f'{self.work}/load', *map(str, arguments)], capture_output=True, text=True, timeout=90, check=False)
        except subprocess.TimeoutExpired:
            raise Failed('more than 90 s') from None
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
        n = self.scaled(500 if peer.fork else 2000 if peer.thread else 10000)
        with Server(peer, self.work) as s:
            before = s.memory()
            with subprocess.Popen([f'{self.work}/load', 'hold', str(s.port), str(n), '3'], stdout=subprocess.PIPE, text=True) as p:
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
    """results[what][name] is a list of figures, one for each round; a dict with 'error' if one failed."""
    deadline = time.monotonic() + budget
    results = {what: {p.name: [] for p in everybody} for what in whats}
    for what in whats:
        share = time.monotonic() + (deadline - time.monotonic()) / (len(whats) - whats.index(what))
        longest = 0
        for n in range(runs):
            start = time.monotonic()
            if n and start + longest > share:
                print(f'{what}: the time is over after {n} of {runs} runs', file=sys.stderr)
                break
            for p in everybody:
                if any(r is None or 'error' in r for r in results[what][p.name]):
                    continue
                print(f'{what} {n + 1}/{runs}: {p.name}', file=sys.stderr)
                try:
                    results[what][p.name].append(getattr(bench, what)(p))
                except (Failed, OSError) as e:
                    results[what][p.name].append({'error': str(e)})
            longest = max(longest, time.monotonic() - start)
    return results


def summarize(results, figures=FIGURES):
    """The medians of each figure, and of its ratios to the floor of the same round."""
    summary = {}
    for what, by_name in results.items():
        floor = by_name.get('floor', [])
        for name, rounds in by_name.items():
            rounds = [r for r in rounds if r]
            if not rounds:
                continue
            good = [(n, r) for n, r in enumerate(rounds) if 'error' not in r]
            entry = {'runs': len(good), 'error': next((r['error'] for r in rounds if 'error' in r), None)}
            for figure, _ in figures[what]:
                if good:
                    entry[figure] = statistics.median(r[figure] for _, r in good)
                ratios = [r[figure] / floor[n][figure] for n, r in good if n < len(floor) and floor[n] and floor[n].get(figure)]
                if ratios:
                    entry[f'{figure}_ratio'] = statistics.median(ratios)
            entry['bad'] = max((r['bad'] for _, r in good), default=None)
            if good and 'whole' in good[0][1]:
                entry['astray'] = max(abs(r['sent'] - r['whole']) for _, r in good)
            summary.setdefault(what, {})[name] = entry
    return summary


def output(*command):
    """The first line that a command prints, "" if it does not exist."""
    try:
        p = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    except OSError:
        return ''
    return (p.stdout or p.stderr).strip().split('\n')[0]


def circumstances(everybody, binary):
    """The machine and the versions."""
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        cpu = re.search(r'^model name\s*:\s*(.*)$', f.read(), re.MULTILINE)
    packages = sorted({p.package for p in everybody if p.package})
    return {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'kernel': platform.release(),
        'cpu': f'{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}',
        'load': '%.1f %.1f %.1f' % os.getloadavg(),
        'versions': {
            'tcpmux': f'{output(binary, "--version")} {output("git", "rev-parse", "--short", "HEAD")}'.removeprefix('tcpmux ').strip() if binary else '',
            'gcc': output('gcc', '-dumpfullversion'),
            **{name: output('dpkg-query', '-W', '-f', '${Version}', name) for name in packages},
        },
    }


def number(x):
    return f'{x:,.0f}' if x >= 100 else f'{x:.1f}' if x >= 1 else f'{x:.2f}'


def markdown(where, summary, runs):
    lines = ['# Results', '', f'Written by `make bench` on {where["date"]}; see bench.py for what is measured and how.', '',
             f'- kernel {where["kernel"]}, {where["cpu"]}, load before and during the run {where["load"]}',
             '- ' + ', '.join(f'{k} {v}' for k, v in where['versions'].items() if v),
             f'- medians of up to {runs} rounds; in each round all servers take turns', '',
             'Compare the ratios. Each is relative to the floor in the same round: a one-thread C server that does the same work and nothing',
             'else. The absolute figures are those of a machine that is shared with others, and change from hour to hour.', '']
    return '\n'.join(lines) + '\n' + tables(summary, FIGURES, __doc__)


def tables(summary, all_figures, doc):
    """A table for each workload; doc has a line that says what each is."""
    lines = []
    for what, by_name in summary.items():
        figures = all_figures[what]
        lines += [f'## {what}', '', re.search(rf'^  {what} +(.*)$', doc, re.MULTILINE)[1] + '.', '']
        head = ['', *(c for _, unit in figures for c in (unit, 'ratio')), 'runs', 'remarks']
        lines += ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (2 * len(figures) + 1) + ' --- |']
        for name, e in by_name.items():
            cells = [name]
            for figure, _ in figures:
                cells += [number(e[figure]) if figure in e else '', f'{e[f"{figure}_ratio"]:.2f}' if f'{figure}_ratio' in e else '']
            lines.append('| ' + ' | '.join([*cells, str(e['runs']), remarks(e)]) + ' |')
        lines.append('')
    return '\n'.join(lines)


def section_of_tls(path):
    """What tls.py has written into a file of results, which stays."""
    if not os.path.exists(path):
        return ''
    with open(path, encoding='utf-8') as f:
        _, head, text = f.read().partition('\n# TLS\n')
    return head + text


def remarks(entry):
    said = []
    if entry['error']:
        said.append(entry['error'].replace('|', '/'))
    if entry['bad']:
        said.append(f'{entry["bad"]:.0f} clients failed')
    if entry.get('astray'):
        said.append(f'{entry["astray"]:,} lines not found whole and once')
    return '; '.join(said)


def faults(summary, names):
    """What must not happen on any machine: an error, a client that failed, a line that is missing or recorded twice."""
    for what, by_name in summary.items():
        for name in names:
            entry = by_name.get(name)
            if entry is None:
                yield f'{what}: {name} was not measured'
            elif entry['error'] or entry['bad'] or entry.get('astray'):
                yield f'{what}: {name}: {remarks(entry) or entry}'


def build(work):
    for name in ('floor', 'load'):
        subprocess.check_call(['gcc', '-O2', '-Wall', '-Wextra', '-o', f'{work}/{name}', f'{HERE}/{name}.c'])


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', help='the tcpmux binary; without it tcpmux is not measured')
    p.add_argument('--runs', type=int, default=5, help='rounds, 1 to 50 (default 5)')
    p.add_argument('--scale', type=float, default=1.0, help='how much of the usual amount of work, up to 10 (default 1)')
    p.add_argument('--budget', type=float, default=840, help='seconds after which no further round begins (default 840)')
    p.add_argument('--only', help='only these servers, separated by commas, such as "tcpmux,socat"; the floor is always measured')
    p.add_argument('--json', help='write all rounds and the medians here')
    p.add_argument('--markdown', help='write the tables here instead of to standard output')
    p.add_argument('--smoke', action='store_true', help='exit 1 if the floor or tcpmux fail a client or lose a record')
    p.add_argument('what', nargs='*', metavar='WHAT', help=f'of {", ".join(WHAT)} (default: all)')
    a = p.parse_args()
    a.what = a.what or list(WHAT)
    if unknown := set(a.what) - set(WHAT):
        p.error(f'no such measurement: {", ".join(sorted(unknown))}')
    if not 1 <= a.runs <= 50 or not 0 < a.scale <= 10:
        p.error('--runs is 1 to 50, --scale above 0 and up to 10')
    if a.bin:
        a.bin = os.path.abspath(a.bin)
    return a


def main():
    a = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ['PATH'] += ':/usr/local/sbin:/usr/sbin:/sbin'  # where daemons are, for people who are not root
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix='tcpmux-bench') as work:
        os.chmod(work, 0o755)
        build(work)
        everybody = peers(a.bin, work)
        if a.only:
            wanted = {'floor', *(n.strip() for n in a.only.split(','))}
            if unknown := wanted - {n for p in everybody for n in (p.name, p.family)}:
                sys.exit(f'not here: {", ".join(sorted(unknown))}; there are {", ".join(p.name for p in everybody)}')
            everybody = [p for p in everybody if p.name in wanted or p.family in wanted]
        where = circumstances(everybody, a.bin)
        try:
            results = measure(everybody, a.what, Bench(work, a.scale), a.runs, a.budget)
        finally:  # a signal may have come at any moment
            for server in list(Server.running):
                server.kill()
        where['load'] += ' / %.1f %.1f %.1f' % os.getloadavg()
    summary = summarize(results)
    text = markdown(where, summary, a.runs)
    if a.json:
        write(a.json, json.dumps({**where, 'scale': a.scale, 'summary': summary, 'rounds': results}, indent=1) + '\n')
    if a.markdown:
        write(a.markdown, text + section_of_tls(a.markdown))
    else:
        print(text)
    if a.smoke:
        found = list(faults(summary, [p.name for p in everybody if p.family in ('floor', 'tcpmux')]))
        if found:
            sys.exit('\n'.join(found))


if __name__ == '__main__':
    main()
