#!/usr/bin/env python3
"""Tests of what measures: intervals, exponents, sections, plots, the base, and the pace of the load."""
import contextlib
import io
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree
from unittest import mock

import base
import bench
import growth
import plot
import readme
import report
import servers
import slope
import sweeps


class Compared(unittest.TestCase):
    def test_the_interval_is_the_narrowest_that_covers_enough(self):
        for n, want in ((1, (0, 0, 0)), (3, (0, 2, .75)), (5, (0, 4, .9375)), (8, (1, 6, .9297)), (11, (2, 8, .9346))):
            low, high, covered = base.interval(range(n))
            self.assertEqual((low, high, round(covered, 4)), want, f'{n} values')

    def compared(self, news, olds, figure='cpu_us'):
        rounds = {'greet': {'new': [r if r is None else {figure: r} for r in news], 'old': [r if r is None else {figure: r} for r in olds]}}
        return base.compare(rounds, {'greet': ((figure, 'unit'),)}, [('new', 'old')])

    def test_the_ratio_is_that_of_the_rounds(self):
        # The machine gets slower from round to round; the new one needs half of what the old one needs.
        [row] = self.compared([1, 10, 100, 1000, 10000], [2, 20, 200, 2000, 20000])
        self.assertEqual((row['ratio'], row['quartiles'], row['rounds'], row['verdict']), (.5, (.5, .5), 5, 'better'))

    def test_the_verdict_needs_an_interval_without_1(self):
        for news, figure, want in (([.8, .9, .7, .8, 1.1], 'cpu_us', ''), ([1.2, 1.3, 1.1, 1.2, 1.4], 'cpu_us', 'worse'),
                                   ([1.2, 1.3, 1.1, 1.2, 1.4], 'rate', 'better'), ([.5, .5, .5], 'cpu_us', '')):
            [row] = self.compared(news, [1] * len(news), figure)
            self.assertEqual(row['verdict'], want, f'{figure} {news}')

    def test_rounds_that_failed_do_not_count(self):
        [row] = self.compared([1, None, 3], [2, 2, 3])
        self.assertEqual((row['ratio'], row['rounds']), (.75, 2))
        self.assertEqual(self.compared([], []), [])

    def test_the_tables_have_each_row(self):
        rows = self.compared([1, 2, 3], [2, 2, 3])
        for text in (base.markdown(rows, 'label'), base.plain(rows, 'label')):
            self.assertIn('0.500–1.000 (75%)', text)
            self.assertIn('label', text)


class Order(unittest.TestCase):
    def test_new_and_base_take_turns_at_being_first(self):
        seen = []

        class Bench:
            def greet(self, peer):
                seen.append(peer.name)
                return {'rate': 1}
        bench.measure([servers.Peer(n, None) for n in ('floor', 'new', 'base')], ['greet'], Bench(), 2, 100)
        self.assertEqual(seen, ['floor', 'new', 'base', 'base', 'new', 'floor'])


class Base(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = work.name
        # A repository around the one that runs the test may have set these.
        clean = mock.patch.dict(os.environ, {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}, clear=True)
        clean.start()
        self.addCleanup(clean.stop)

    def git(self, directory, *arguments):
        subprocess.run(['git', '-C', directory, '-c', 'user.name=n', '-c', 'user.email=e@example.org', *arguments], check=True, capture_output=True)

    def repository(self):
        path = f'{self.work}/full'
        here = f'{path}/contrib/bench'
        os.makedirs(here)
        self.git(path, 'init', '-q')
        for version in ('1', '2'):
            servers.write(f'{path}/Makefile', f'build:\n\tmkdir -p build\n\techo {version} >build/tcpmux\n')
            self.git(path, 'add', '.')
            self.git(path, 'commit', '-q', '-m', f'version {version}')
        return path, here

    def test_it_builds_the_parent(self):
        _, here = self.repository()
        with mock.patch.object(servers, 'HERE', here), mock.patch.dict(os.environ, {'VERSION': 'other', 'MAKEFLAGS': 'n'}):
            binary, label = base.build('HEAD^', f'{self.work}/into')
        with open(binary, encoding='utf-8') as f:
            self.assertEqual(f.read(), '1\n')
        self.assertRegex(label, r'^[0-9a-f]+ \(version 1\)$')

    def test_a_shallow_clone_says_so(self):
        path, _ = self.repository()
        subprocess.run(['git', 'clone', '-q', '--depth', '1', f'file://{path}', f'{self.work}/shallow'], check=True, capture_output=True)
        with mock.patch.object(servers, 'HERE', f'{self.work}/shallow'), self.assertRaisesRegex(base.NoBase, 'shallow clone.*--deepen'):
            base.find('HEAD^')

    def test_without_a_parent_it_goes_on(self):
        with mock.patch.object(servers, 'HERE', self.work), mock.patch.object(base, 'git', return_value=None):
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                found = bench.find_base(mock.Mock(bin='x', base='HEAD^', base_bin=None))
            self.assertEqual(found, (None, None))
            self.assertRegex(said.getvalue(), 'no parent commit.*Going on without it')
            with self.assertRaises(SystemExit):
                bench.find_base(mock.Mock(bin='x', base='v1', base_bin=None))
        self.assertEqual(bench.find_base(mock.Mock(bin='x', base='none', base_bin=None)), (None, None))


class Exponents(unittest.TestCase):
    def test_exponent(self):
        for name, points, want in (('flat', [(1, 5), (10, 5), (100, 5)], 0), ('linear', [(1, 2), (10, 20), (100, 200)], 1),
                                   ('square', [(2, 4), (4, 16), (8, 64)], 2), ('one outlier', [(1, 5), (10, 5), (100, 500), (1000, 5), (10000, 5)], 0),
                                   ('too close', [(10, 1), (11, 9)], None), ('one', [(1, 1)], None)):
            got = slope.exponent(points)
            self.assertTrue(got is want or abs(got - want) < 1e-9, f'{name}: got {got}, want {want}')

    def test_a_fault_is_what_all_rounds_show(self):
        flat, rate, linear = slope.Figure('a', 'u'), slope.Figure('a', 'u', rate=True), slope.Figure('a', 'u', should=1)
        for name, figure, exponents, floor, want in (
                ('grows', flat, [.2, .3, .25], None, True), ('grows in one round', flat, [.2, .05, .3], None, False),
                ('the floor does too', flat, [.2, .3, .25], .2, False), ('falls', flat, [-.5] * 3, None, False),
                ('a rate falls', rate, [-.2] * 3, None, True), ('a rate rises', rate, [.5] * 3, None, False),
                ('in proportion', linear, [1.05] * 3, None, False), ('more than that', linear, [1.5] * 3, None, True)):
            self.assertEqual(slope.Growth(figure, exponents, floor).fault, want, name)


class Grown(unittest.TestCase):
    def results(self, most=10 ** 6):
        class Made(sweeps.Sweep):
            title, x_title, xs = 'clients', 'clients', (100, 1000, 10000, 20000)
            figures = (slope.Figure('a', 'µs & more'), slope.Figure('b', 'ms', should=1))
            values = sweeps.Sweep.clients

            def point(self, server, x):
                return {'a': x, 'b': x}
        r = growth.Results(Made('', 1, ''), most)
        r.measure(2, 1e12)
        return r

    def test_what_grows_too_fast_is_marked(self):
        r = self.results()
        self.assertEqual(list(growth.faults([r])), ['clients: tcpmux: µs & more grows as x^1.00, which should be at most 0.00'])
        text = '\n'.join(growth.section(r, 'x.svg'))
        self.assertIn('| 20,000 | tcpmux | 20,000 | 20,000 |', text)
        self.assertEqual(text.count('**grows faster than it should**'), 1)

    def test_a_smaller_bound_is_said(self):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            r = self.results(16000)
        self.assertEqual(r.xs, [100, 1000, 10000, 15750])
        self.assertIn('20,000 clients need 20,250 descriptors, and a process may have 16,000 (ulimit -Hn): measured up to 15,750.', said.getvalue())
        self.assertIn('measured up to 15,750.', '\n'.join(growth.section(r, '')))

    def test_another_run_is_recalled(self):
        r, again = self.results(), self.results()
        again.xs, again.rounds, again.runs = [], {}, 0
        with tempfile.TemporaryDirectory() as work:
            path = f'{work}/growth.json'
            with open(path, 'w', encoding='utf-8') as f:
                json.dump({'rounds': {'clients': r.rounds}}, f)
            again.recall(growth.rounds_in(path)['clients'])
        self.assertEqual((again.xs, again.rounds, again.runs), (r.xs, r.rounds, r.runs))
        self.assertEqual(growth.section(again, 'x.svg'), growth.section(r, 'x.svg'))

    def test_the_plot_is_xml_with_each_curve(self):
        tree = ElementTree.fromstring(growth.image(self.results()))
        self.assertEqual(len(tree.findall('.//{*}circle')), 8)
        self.assertIn('prefers-color-scheme:dark', tree.find('{*}style').text)
        self.assertEqual(plot.svg([plot.Panel('t', 'x', {})]), '')
        for curve in ([(1, 0), (2, 0)], [(5, 3)], [(1, 1), (9, 1e6)]):  # what an axis could fail at
            ElementTree.fromstring(plot.svg([plot.Panel('t', 'x', {'c': curve}, log_x=True)]))


class Sections(unittest.TestCase):
    def test_a_section_is_replaced_where_it_is(self):
        with tempfile.TemporaryDirectory() as work:
            path = f'{work}/R.md'
            for title in ('TLS', 'Results', 'Proxy', 'Latency', 'TLS', 'Growth'):
                report.place(path, title, f'# {title}\n\ntext\n\n## a {title}\n\n')
            with open(path, encoding='utf-8') as f:
                text = f.read()
        self.assertEqual(re.findall(r'^# (.*)$', text, re.MULTILINE), ['Results', 'Growth', 'Latency', 'TLS', 'Proxy'])
        self.assertEqual((text.count('## a TLS'), text[-9:]), (1, '## a Proxy\n'[-9:]))

    def test_progress_is_for_a_terminal(self):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            report.progress('greet 1/5')
        self.assertEqual(said.getvalue(), '')


class Readme(unittest.TestCase):
    def test_table_and_plot_are_those_of_the_results(self):
        """"contrib/bench/readme.py" makes them so."""
        with open(readme.RESULTS, encoding='utf-8') as f:
            figures = readme.parse(f.read())
        with open(readme.README, encoding='utf-8') as f:
            text = f.read()
        with open(f'{servers.HERE}/{readme.PLOT}', encoding='utf-8') as f:
            drawn = f.read()
        self.assertEqual(readme.updated(text, figures), text)
        self.assertEqual(readme.drawn(figures), drawn)
        self.assertIn('| floor | 1.00 | 1.00 | 1.00 | 1.00 |', text)

    def test_what_lost_lines_is_marked(self):
        summary = {'many': {'floor': {'rate': 1, 'cpu_ns': 10, 'cpu_ns_ratio': 1, 'runs': 1, 'error': None, 'bad': 0, 'astray': 0},
                            'ncat': {'rate': 1, 'cpu_ns': 5, 'cpu_ns_ratio': .5, 'runs': 1, 'error': None, 'bad': 0, 'astray': 3}}}
        figures = readme.parse('# Results\n\n' + report.tables(summary, bench.FIGURES, bench.__doc__) + '\n# TLS\n\n## many\n')
        self.assertIn('| ncat | – | – | – | 0.50\\* | – |', readme.table(figures))


class Pace(unittest.TestCase):
    def test_a_server_that_stalls_delays_what_was_due_meanwhile(self):
        """The server acknowledges nothing until all lines are there: a load that waited for it would send only one."""
        lines, rate, size = 60, 200, 20

        def serve(listener):
            c, _ = listener.accept()
            with c:
                c.sendall(b'hello\n')
                got = 0
                while got < lines * size and (more := c.recv(4096)):
                    got += len(more)
                c.sendall(b'ok\n' * lines)
                c.recv(1)
        with tempfile.TemporaryDirectory() as work, socket.create_server(('127.0.0.1', 0)) as listener:
            servers.build(work)
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            d = bench.Bench(work, 1).printed('pace', 'lines', listener.getsockname()[1], 1, rate, lines / rate, size, 1, '-', 3)
        self.assertEqual((d['msgs'], d['ack_n'], d['bad']), (lines, lines, 0))
        # Half of the lines were due at least half the time before the last one.
        self.assertGreaterEqual(d['ack_p50'], (lines / 2 - 1) / rate * 1e6)
        self.assertGreaterEqual(d['ack_max'], (lines - 1) / rate * 1e6)


if __name__ == '__main__':
    unittest.main()
