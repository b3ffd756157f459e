"""What is said about a run: medians and ratios, tables in Markdown, the machine, and progress at a terminal."""
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys

import servers


def summarize(results, figures):
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
    """The first line that a command prints, "" if it does not exist or fails."""
    try:
        p = subprocess.run(command, capture_output=True, text=True, check=False, cwd=servers.HERE)
    except OSError:
        return ''
    return (p.stdout or p.stderr).strip().split('\n')[0] if p.returncode == 0 else ''


def version(binary):
    commit = output('git', 'describe', '--always', '--dirty', '--exclude', '*')
    return f'{output(os.path.abspath(binary), "--version")} {commit}'.removeprefix('tcpmux ').strip()


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
            'tcpmux': version(binary) if binary else '',
            'gcc': output('gcc', '-dumpfullversion'),
            **{name: output('dpkg-query', '-W', '-f', '${Version}', name) for name in packages},
        },
    }


def number(x):
    return f'{x:,.0f}' if x >= 100 else f'{x:.1f}' if x >= 1 else f'{x:.2f}'


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
                none = '' if e['runs'] or e['error'] else '–'
                cells += [number(e[figure]) if figure in e else none, f'{e[f"{figure}_ratio"]:.2f}' if f'{figure}_ratio' in e else '']
            lines.append('| ' + ' | '.join([*cells, str(e['runs']), remarks(e)]) + ' |')
        lines.append('')
    return '\n'.join(lines)


def remarks(entry):
    said = [entry['note']] if entry.get('note') else []
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


def place(path, title, text, order=('Results', 'Growth', 'Latency', 'TLS', 'Proxy', 'Mux')):
    """Replaces the section "# title" of a file, or puts it where it belongs. Each section begins with such a line."""
    old = ''
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            old = f.read()
    sections = {part.partition('\n')[0].removeprefix('# '): part.strip('\n') for part in re.split(r'^(?=# )', old, flags=re.MULTILINE) if part.strip()}
    sections[title] = text.strip('\n')
    rank = {name: n for n, name in enumerate(order)}
    names = sorted(sections, key=lambda name: rank.get(name, len(order)))
    servers.write(path, '\n\n'.join(sections[name] for name in names) + '\n')


def progress(text=''):
    """Shows at a terminal what is done now, in one line, and nothing elsewhere. Without text the line goes."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text[:110]}', end='', file=sys.stderr, flush=True)


def tell(text):
    """Says something that matters also where there is no terminal."""
    progress()
    print(text, file=sys.stderr)
