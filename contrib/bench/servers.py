"""The servers that are measured: tcpmux, the floor and the peers in Debian, how each is started, and one that runs."""
import contextlib
import glob
import mmap
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Callable, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(HERE, '..', 'reference')
GREETING = 'Welcome connect!\n'
ACK = 'ok\n'


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
    acks: Optional[Callable] = None  # the command for a server that answers each line with ACK once it is on disk
    base_of: Optional[str] = None  # the name of the server that this one is an older version of

    @property
    def family(self):
        """The name for --only that selects all models of one program: tcpmux, reference."""
        return self.name.split()[0]

    @property
    def held(self):
        """How many clients it can be made to hold: a process for each is as much as many machines allow."""
        return 500 if self.fork or self.name.endswith(' process') else 2000 if self.thread else 10000


def write(path, text, mode=0o644):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def tcpmux(binary, model, top='', record='max_size = "4GiB"\n', rest=''):
    """tcpmux of a model; top, record and rest are more lines of its configuration."""
    def command(port, out, directory):
        config = write(f'{directory}/tcpmux.toml', f'address = "127.0.0.1:{port}"\nbanner = "Welcome connect!\\n"\nmodel = "{model}"\n{top}'
                       f'[record]\nfile = "{out}"\ncompress = false\n{record}{rest}')
        return [binary, 'run', '--config', config]
    return command


def acknowledging(binary, model):
    return tcpmux(binary, model, 'ack = "ok\\n"\n', 'max_size = "4GiB"\nsync = "always"\n')


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


def peers(binary, work, base=None):
    """All servers that are installed, the floor first. base is another binary of tcpmux: it comes next to each model of the first."""
    everybody = [Peer('floor', lambda port, out, directory: [f'{work}/floor', str(port), out],
                      acks=lambda port, out, directory: [f'{work}/floor', str(port), out, ACK])]
    known = set(models(base, work)) if base else set()
    for m in models(binary, work) if binary else ():
        everybody.append(Peer(f'tcpmux {m}', tcpmux(binary, m), acks=acknowledging(binary, m)))
        if m in known:
            everybody.append(Peer(f'base {m}', tcpmux(base, m), acks=acknowledging(base, m), base_of=f'tcpmux {m}'))
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
        self.cpu, self.before = None, 0
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
        self.before = self.ran()

    def ran(self):
        """The CPU seconds of its threads so far."""
        total = 0
        for path in glob.glob(f'/proc/{self.process.pid}/task/*/schedstat'):
            with contextlib.suppress(OSError):
                with open(path, encoding='ascii') as f:
                    total += int(f.read().split()[0])
        return total / 1e9

    def has_ended(self):
        """Whether it has ended. The process is not reaped, so that its PID is not reused."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self):
        """Ends the server and its group; returns its CPU seconds since it listened, and those of the children it has waited for."""
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
        self.cpu = used.ru_utime + used.ru_stime - self.before
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


def build(work):
    """The floor and the load."""
    for name in ('floor', 'load', 'pace'):
        subprocess.check_call(['gcc', '-O2', '-Wall', '-Wextra', '-pthread', '-o', f'{work}/{name}', f'{HERE}/{name}.c'])


@contextlib.contextmanager
def workplace():
    """A directory for a run, with all descriptors that are allowed. Whatever ends it, no server stays."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ['PATH'] += ':/usr/local/sbin:/usr/sbin:/sbin'  # where daemons are, for people who are not root
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix='tcpmux-bench') as work:
        os.chmod(work, 0o755)
        try:
            yield work
        finally:  # a signal may have come at any moment
            for server in list(Server.running):
                with contextlib.suppress(ChildProcessError):
                    server.kill()
