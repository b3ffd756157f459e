"""What grows: measurements of tcpmux over the number of clients, the size of files and the like, one point at a time."""
import os
import re
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone

import bench
import report
from servers import ACK, Failed, Peer, Server, tcpmux
from slope import Figure

SPARE = 250  # descriptors of a process besides those of clients
MANY = '[limits]\nclients = 30000\n'
SOME = 'max_size = "4GiB"\n'


class Sweep(bench.Bench):
    """Measures tcpmux at several values of x.

    point(server, x) returns a dict of figures. servers are the names of the curves, the first is that of tcpmux by default.
    """
    title = x_title = ''
    told = ''  # about the measurement, for the text
    xs = ()
    figures = ()
    servers = ('tcpmux',)
    log_x = True

    def __init__(self, work, scale, binary):
        super().__init__(work, scale)
        self.binary = binary

    def values(self, most):
        """The values of x, each once. Those that need more than so many descriptors become that number, and it is said."""
        del most
        return sorted({self.scaled(x) for x in self.xs})

    def needs(self, x):
        """The descriptors that a process needs for so many clients."""
        return x + SPARE

    def clients(self, most):
        """values for numbers of clients."""
        wanted = sorted({max(self.scaled(x), 4) for x in self.xs})
        if self.needs(wanted[-1]) <= most:
            return wanted
        bound = next(x for x in range(wanted[-1], 0, -1) if self.needs(x) <= most)
        self.told = (f'{wanted[-1]:,} clients need {self.needs(wanted[-1]):,} descriptors, and a process may have {most:,} (ulimit -Hn): '
                     f'measured up to {bound:,}.')
        report.tell(f'{self.title}: {self.told}')
        return sorted({min(x, bound) for x in wanted})

    def server(self, top='', record=SOME, rest=MANY, wrap=()):
        command = tcpmux(self.binary, 'goroutine', top, record, rest)
        return Server(Peer('tcpmux', lambda *a: [*wrap, *command(*a)]), self.work)


def cpu_seconds(pid):
    """The CPU that the threads of a process have used."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{thread}/schedstat', encoding='ascii') as f:
                total += int(f.read().split()[0])
        except OSError:
            pass  # it has just ended
    return total / 1e9


def at_rest(server, clients, patience=60):
    """Waits until a server has done what new clients leave to do, such as making sure that they outlive it: that is not what a message costs."""
    if clients < 50:
        return  # it is nothing
    deadline, quiet, last = time.monotonic() + patience, 0, cpu_seconds(server.process.pid)
    while quiet < 4 and time.monotonic() < deadline:
        time.sleep(.3)
        used = cpu_seconds(server.process.pid)
        quiet, last = quiet + 1 if used - last < .02 else 0, used


class Clients(Sweep):
    """CPU per message and latency of a steady rate, CPU of bursts, and memory."""
    title, x_title, xs = 'clients', 'clients', (100, 1000, 10000, 20000)
    figures = (Figure('cpu_us', 'µs CPU a message, 2,000 a second'), Figure('burst_us', 'µs CPU a message, in bursts'),
               Figure('p50_us', 'µs to the record, 50 %'), Figure('p99_us', 'µs to the record, 99 %'), Figure('kib', 'KiB a client'))
    processors = sorted(os.sched_getaffinity(0))
    servers = ('tcpmux, 2 processors', 'tcpmux, 1 processor', 'floor') if len(processors) > 1 else ('tcpmux, 1 processor', 'floor')
    values = Sweep.clients

    def start(self, server):
        if server == 'floor':
            return Server(Peer('floor', lambda port, out, _: [f'{self.work}/floor', str(port), out]), self.work)
        n = 1 if '1' in server else 2
        return self.server(wrap=('env', f'GOMAXPROCS={n}', 'taskset', '-c', ','.join(map(str, self.processors[:n]))))

    def point(self, server, x):
        with self.start(server) as s:
            return {**self.steady(s, x), **self.burst(s, x)}

    def steady(self, s, x):
        seconds = max(5 * self.scale, .3)
        before = s.memory()
        with subprocess.Popen([f'{self.work}/pace', 'lines', str(s.port), str(x), '2000', str(seconds), '100', '1', s.out, '0'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            if not p.stdout.readline():
                raise Failed(p.stderr.read().strip())
            at_rest(s, x)
            cpu, kib = cpu_seconds(s.process.pid), (s.memory() - before) / x
            d = numbers(p.communicate()[0])
            cpu = cpu_seconds(s.process.pid) - cpu
        if not d.get('rec_n'):
            raise Failed('no line has arrived')
        return {'cpu_us': cpu / d['msgs'] * 1e6, 'p50_us': d['rec_p50'], 'p99_us': d['rec_p99'], 'kib': kib, 'bad': d['bad'],
                'lost': d['msgs'] - d['rec_n']}

    def burst(self, s, x):
        """Each client sends a line in turn, as fast as they can; often, if that is short. The visits alone cost what is taken off."""
        messages = 200000 * self.scale
        rounds = max(1, min(50, round(messages / x)))
        times = max(1, round(messages / rounds / x))
        cpu = []
        for lines in (rounds, 0):
            before = cpu_seconds(s.process.pid)
            for _ in range(times):
                self.load('trickle', s.port, x, lines, 100, 1)
            cpu.append(cpu_seconds(s.process.pid) - before)
        return {'burst_us': max(cpu[0] - cpu[1], 0) / (times * rounds * x) * 1e6}


def numbers(text):
    return {k: float(v) for k, v in re.findall(r'(\w+)=([\d.]+)', text)}


class Volume(Sweep):
    """Records a second and their CPU; 16 clients send 256-byte lines, 64 a write."""
    figures = (Figure('rate', 'records/s', rate=True), Figure('cpu_ns', 'ns CPU a record'))
    lines = 30000  # of a client
    sample = b''

    def example(self):
        """Some records, as tcpmux writes them."""
        if not self.sample:
            with self.server() as s:
                self.load('record', s.port, 16, 50, 256, 50, 1)
                with open(s.out, 'rb') as f:
                    type(self).sample = f.read()
        return self.sample

    def fill(self, path, size):
        """Writes a file of records, on disk, so that nobody writes it out later."""
        example = self.example()
        with open(path, 'wb') as f:
            while f.tell() < size:
                f.write(example[:example.rindex(b'\n', 0, max(min(len(example), size - f.tell()), example.index(b'\n') + 1)) + 1])
            f.flush()
            os.fsync(f.fileno())

    def volume(self, s):
        count = self.scaled(self.lines)
        before = cpu_seconds(s.process.pid)
        d = self.load('record', s.port, 16, count, 256, 64, 1)
        return {'rate': 16 * count / d['secs'], 'cpu_ns': (cpu_seconds(s.process.pid) - before) / 16 / count * 1e9, 'bad': d['bad']}


class Files(Volume):
    """… over the size that the record file has already."""
    title, x_title, xs = 'file', 'KiB in the record file', (1 << 10, 16 << 10, 128 << 10, 1 << 20)

    def point(self, server, x):
        del server
        self.example()
        if shutil.disk_usage(self.work).free < (x << 10) * 2:
            raise Failed(f'there is no room for {x:,} KiB')
        command = tcpmux(self.binary, 'goroutine', '', SOME, MANY)

        def filled(port, out, directory):
            self.fill(out, x << 10)
            return command(port, out, directory)
        with Server(Peer('tcpmux', filled), self.work) as s:
            return self.volume(s)


class Backups(Volume):
    """… over the number of rotated files, where the file is rotated each MiB."""
    title, x_title, xs = 'backups', 'rotated files', (1, 10, 100, 1000)
    lines = 10000

    def point(self, server, x):
        del server
        self.example()
        command = tcpmux(self.binary, 'goroutine', '', f'max_size = "1MiB"\nmax_backups = {x}\n', MANY)

        def filled(port, out, directory):
            now = datetime.now(timezone.utc)
            for n in range(x):
                at = (now - timedelta(seconds=n + 1)).strftime('%Y-%m-%dT%H-%M-%S.000')
                with open(f'{out}-{at}', 'wb') as f:
                    f.write(self.example()[:4096])
            return command(port, out, directory)
        with Server(Peer('tcpmux', filled), self.work) as s:
            return self.volume(s)


class Listeners(Sweep):
    """Clients that visit all in turn and that send lines; the time until all listen; an upgrade while each has a client."""
    title, x_title, xs = 'listeners', 'listeners', (1, 10, 100, 1000)
    figures = (Figure('visit_us', 'µs CPU a visit'), Figure('rate', 'records/s', rate=True), Figure('cpu_ns', 'ns CPU a record'),
               Figure('start_ms', 'ms until all listen', should=1), Figure('upgrade_ms', 'ms of the upgrade', should=1))

    def point(self, server, x):
        del server

        def command(port, out, directory):
            more = ''.join(f'[[listener]]\nname = "l{n}"\naddress = "127.0.{(n + 1) // 256}.{(n + 1) % 256}:{port}"\n' for n in range(1, x))
            return tcpmux(self.binary, 'goroutine', '', SOME, MANY + more)(port, out, directory)
        began = time.monotonic()
        with Server(Peer('tcpmux', command), self.work) as s:
            while listening(s.port) < x:
                if time.monotonic() - began > 30:
                    raise Failed(f'{listening(s.port)} of {x} listen')
                time.sleep(.005)
            took = time.monotonic() - began
            at = [cpu_seconds(s.process.pid)]
            v = self.load('greet', f'{s.port}/{x}', self.scaled(10000), 64)
            at.append(cpu_seconds(s.process.pid))
            count = self.scaled(3000)
            d = self.load('record', f'{s.port}/{x}', 64, count, 100, 1, 1)
            at.append(cpu_seconds(s.process.pid))
            with subprocess.Popen([f'{self.work}/load', 'hold', f'{s.port}/{x}', str(x), '600'], stdout=subprocess.PIPE) as p:
                try:
                    p.stdout.readline()
                    upgrading = upgrade(s)
                finally:
                    p.kill()
        return {'visit_us': (at[1] - at[0]) / v['total'] * 1e6, 'rate': 64 * count / d['secs'], 'cpu_ns': (at[2] - at[1]) / 64 / count * 1e9,
                'start_ms': took * 1e3, 'upgrade_ms': upgrading * 1e3, 'bad': v['bad'] + d['bad']}


def listening(port):
    """How many sockets listen on a port."""
    n = 0
    with open('/proc/net/tcp', encoding='ascii') as f:
        next(f)
        for line in f:
            _, local, _, state, _ = line.split(None, 4)
            if state != '0A':
                break  # those that listen come first
            n += local.endswith(f':{port:04X}')
    return n


class Handover(Sweep):
    """Start-up, from the start of the program until all clients that come at once are greeted; an upgrade by SIGUSR2 while they are held."""
    title, x_title, xs = 'start', 'clients', (100, 1000, 10000, 20000)
    figures = (Figure('start_ms', 'ms until all are greeted', should=1), Figure('upgrade_ms', 'ms of the upgrade', should=1),
               Figure('pause_ms', 'ms that a message waits at most', should=1))
    values = Sweep.clients

    def needs(self, x):
        return 2 * x + 2000 + SPARE  # so that all outlive the program: config.SurvivalFiles

    def point(self, server, x):
        del server
        began = time.monotonic()
        with self.server('ack = "ok\\n"\n') as s:
            with subprocess.Popen([f'{self.work}/load', 'hold', str(s.port), str(x), '600'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
                try:
                    line = p.stdout.readline()
                    started = time.monotonic() - began
                    if not line:
                        raise Failed(p.stderr.read().strip())
                    at_rest(s, x)
                    return {'start_ms': started * 1e3, 'bad': numbers(line)['bad'], **self.upgrade(s)}
                finally:
                    p.kill()

    def upgrade(self, s):
        """Upgrades while ten more clients send lines that are acknowledged."""
        with subprocess.Popen([f'{self.work}/pace', 'lines', str(s.port), '10', '200', '120', '100', '1', '-', str(len(ACK))],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            try:
                p.stdout.readline()
                time.sleep(.4)
                took = upgrade(s)
                time.sleep(.2)  # for what follows it
                p.send_signal(signal.SIGINT)
                d = numbers(p.stdout.read())
            finally:
                p.kill()
        if d.get('ack_n', 0) < d.get('msgs', 1):
            raise Failed(f'{d.get("ack_n", 0):.0f} of {d.get("msgs", 0):.0f} messages were acknowledged, {d.get("bad", 0):.0f} clients failed')
        return {'upgrade_ms': took * 1e3, 'pause_ms': d['ack_max'] / 1e3}


def upgrade(s):
    """Upgrades a server, and returns how many seconds that took."""
    began = time.monotonic()
    seen = os.path.getsize(f'{s.directory}/stderr')
    s.process.send_signal(signal.SIGUSR2)
    while not upgraded(said := logged(s, seen)):
        if 'not upgraded' in said or s.has_ended() or time.monotonic() - began > 100:
            raise Failed('it is not upgraded: ' + said.strip().split('\n')[-1])
        time.sleep(.002)
    return time.monotonic() - began


def logged(s, offset):
    """What was logged since then."""
    with open(f'{s.directory}/stderr', 'rb') as f:
        f.seek(offset)
        return f.read().decode(errors='replace')


def upgraded(said):
    """Whether the new program is ready in the place of the old one. Its trial has inherited=true."""
    _, found, after = said.rpartition('inherited=false')
    return bool(found) and 'msg=ready' in after


class Memory(Sweep):
    """Memory and descriptors while 2,000 clients a second visit."""
    title, x_title, xs = 'memory', 'seconds', ()
    figures = (Figure('mib', 'MiB', tolerance=.05), Figure('descriptors', 'descriptors', tolerance=.05))
    log_x = False
    samples = 60
    failed = ''

    def series(self, seconds):
        """The points: (x, figures)."""
        seconds = max(seconds * self.scale, 2)
        points = []
        with self.server(record='max_size = "100MiB"\nmax_backups = 2\n') as s:
            began = time.monotonic()
            with subprocess.Popen([f'{self.work}/pace', 'visits', str(s.port), '2000', str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as p:
                try:
                    for n in range(1, self.samples + 1):
                        at = n * seconds / self.samples
                        time.sleep(max(0, began + at - time.monotonic()))
                        report.progress(f'memory: {at:,.0f} of {seconds:,.0f} s')
                        points.append((at, {'mib': s.memory() / 1024, 'descriptors': len(os.listdir(f'/proc/{s.process.pid}/fd'))}))
                        if p.poll() is not None:
                            break  # it has failed, or on a busy machine the samples are late
                    out, said = p.communicate(timeout=120)
                finally:
                    p.kill()
        if p.returncode:
            self.failed = f'the load has failed: {said.strip()}'
            return points  # what was measured until then stands
        d = numbers(out)
        self.told = (f'{d["total"]:,.0f} visits in {d["secs"]:,.0f} s, {d["bad"]:.0f} failed; half were greeted within {d["visit_p50"]:,.0f} µs, '
                     f'99 % within {d["visit_p99"]:,.0f} µs.')
        return points


SWEEPS = (Clients, Files, Backups, Listeners, Handover, Memory)
