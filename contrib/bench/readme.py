#!/usr/bin/env python3
"""Makes the table and the plot of README.md from RESULTS.md, so that both are the same."""
import os
import re
import sys

import bench
import plot
import servers

README = os.path.join(servers.HERE, '..', '..', 'README.md')
RESULTS = os.path.join(servers.HERE, 'RESULTS.md')
PLOT = 'results.svg'
BEGIN, END = '<!-- from contrib/bench/RESULTS.md -->\n', '<!-- until here -->\n'
# Of each workload: its figure, whether it is a ratio to the floor, and what to call it.
COLUMNS = (('greet', 'cpu_us', True, 'a visit'), ('record', 'cpu_ns', True, 'a line, in volume'), ('lines', 'cpu_ns', True, 'a line, one a write'),
           ('many', 'cpu_ns', True, 'a line of one of 2,000 clients'), ('hold', 'kib', False, 'KiB an idle client'))


def parse(text):
    """figures[what][server][unit] = (value, ratio), as they stand in the tables of the section Results; with "lost", whether lines were missing."""
    figures = {}
    section = re.split(r'^(?=# )', text, flags=re.MULTILINE)
    section = next((s for s in section if s.startswith('# Results')), '')
    for part in re.split(r'^## ', section, flags=re.MULTILINE)[1:]:
        what = part.partition('\n')[0]
        rows = [[c.strip() for c in line.strip('|').split('|')] for line in part.split('\n') if line.startswith('|')]
        if what not in bench.FIGURES or len(rows) < 3:
            continue
        head = rows[0]
        figures[what] = {row[0]: {head[i]: (row[i], row[i + 1]) for i in range(1, len(head) - 2, 2)} for row in rows[2:]}
        for row in rows[2:]:
            figures[what][row[0]]['lost'] = 'not found whole' in row[-1]
    return figures


def value(figures, what, server, figure, ratio):
    """A cell, "" if there is none."""
    unit = dict(bench.FIGURES[what])[figure]
    return figures.get(what, {}).get(server, {}).get(unit, ('', ''))[1 if ratio else 0]


def names(figures):
    """The servers, in their order. What is only there to be compared with in turns is none of them."""
    found = dict.fromkeys(name for by_name in figures.values() for name in by_name)
    return [name for name in found if not name.startswith('base ')]


def table(figures):
    lines = ['| CPU, as a ratio to the floor | ' + ' | '.join(title for *_, title in COLUMNS) + ' |', '|---|' + '---:|' * len(COLUMNS)]
    for name in names(figures):
        cells = [name]
        for what, figure, ratio, _ in COLUMNS:
            cell = value(figures, what, name, figure, ratio) or '–'
            cells.append(cell + '\\*' * figures.get(what, {}).get(name, {}).get('lost', False))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n\n\\* Some lines were lost, or mixed with others.\n'


def drawn(figures):
    """The ratios as bars."""
    charts = []
    for what, figure, ratio, title in COLUMNS:
        if ratio:
            bars = [(n, float(v.replace(',', ''))) for n in names(figures) if (v := value(figures, what, n, figure, True))]
            charts.append((f'CPU of {title}', bars))
    return plot.bars(charts)


def updated(readme, figures):
    """The text of README.md with the table."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f'readme: README.md has no "{BEGIN.strip()}" with "{END.strip()}" behind it')
    return before + BEGIN + '\n' + table(figures) + '\n' + END + after


def main():
    with open(RESULTS, encoding='utf-8') as f:
        figures = parse(f.read())
    with open(README, encoding='utf-8') as f:
        text = updated(f.read(), figures)
    servers.write(README, text)
    servers.write(os.path.join(servers.HERE, PLOT), drawn(figures))


if __name__ == '__main__':
    main()
