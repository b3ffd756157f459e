"""The commit that a change is compared with: builds it, and says how the figures of the same rounds differ."""
import math
import os
import shutil
import statistics
import subprocess

import report
import servers

# Figures of which more is better. Of all others less is.
MORE_IS_BETTER = ('rate', 'mb_s')
MIN_COVERAGE = .9


class NoBase(Exception):
    """There is nothing to compare with; says why, and what helps."""


def git(*arguments):
    """What a git command prints in the tree, or None if it fails or there is no git."""
    try:
        p = subprocess.run(['git', '-C', servers.HERE, *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return p.stdout.strip() if p.returncode == 0 else None


def find(commit):
    """The full name of a commit. NoBase if it is not here."""
    if git('rev-parse', '--git-dir') is None:
        raise NoBase('this is no clone with a history, so there is no parent commit to compare with')
    found = git('rev-parse', '--verify', '--quiet', '--end-of-options', f'{commit}^{{commit}}')
    if found:
        return found
    if git('rev-parse', '--is-shallow-repository') == 'true':
        raise NoBase(f'{commit} is not in this shallow clone: "git fetch {"--deepen 1" if commit == "HEAD^" else "--unshallow"}" gets it')
    raise NoBase(f'there is no commit {commit} in this clone')


def build(commit, into):
    """Builds tcpmux of a commit below a directory, unless it is there already. Returns the binary, and what to call it."""
    name = find(commit)
    label = git('log', '-1', '--format=%h (%s)', name)
    binary = f'{into}/tcpmux-{name[:12]}'
    if os.path.exists(binary):
        return binary, label
    tree = f'{into}/tree'
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    report.progress(f'building the base {label}')
    # Not as a part of the make that has called us, whose variables are those of another version.
    ours = ('VERSION', 'SERIES', 'NEXT_SERIES', 'SOURCE_DATE_EPOCH')
    environment = {k: v for k, v in os.environ.items() if not k.startswith(('MAKE', 'MFLAGS')) and k not in ours}
    with subprocess.Popen(['git', '-C', servers.HERE + '/../..', 'archive', name], stdout=subprocess.PIPE) as archive:
        subprocess.run(['tar', '-xC', tree], stdin=archive.stdout, check=True)
    made = subprocess.run(['make', '-C', tree, 'build'], env=environment, capture_output=True, text=True, check=False)
    if made.returncode:
        last = (made.stderr.strip() or made.stdout.strip()).split('\n')[-1]
        raise NoBase(f'tcpmux of {label} does not build: {last}')
    os.replace(f'{tree}/build/tcpmux', binary)
    shutil.rmtree(tree)
    return binary, label


def interval(values):
    """An interval for the median of which they are a sample, from order statistics, whatever the distribution: (low, high, coverage).

    It is the narrowest one that covers it in 90 % of the cases, or all there is if they are too few.
    """
    values, n = sorted(values), len(values)
    best = 1
    for k in range(1, n // 2 + 1):
        if coverage(n, k) >= MIN_COVERAGE:
            best = k
    return values[best - 1], values[n - best], max(coverage(n, best), 0)


def coverage(n, k):
    """How often the median is between the k-th smallest and the k-th largest of n."""
    return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2 ** n


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    q = statistics.quantiles(values, n=4, method='inclusive')
    return q[0], q[2]


def compare(results, figures, pairs):
    """A row for each figure of each pair, from the ratios new/base of the rounds that have both.

    pairs are names, of the new one and its base.
    """
    rows = []
    for what, by_name in results.items():
        for new, old in pairs:
            rounds = [(a, b) for a, b in zip(by_name.get(new, []), by_name.get(old, [])) if a and b and 'error' not in a and 'error' not in b]
            for figure, unit in figures[what]:
                ratios = [a[figure] / b[figure] for a, b in rounds if b.get(figure) and a.get(figure) is not None]
                if ratios:
                    rows.append(row(what, new, figure, unit, ratios))
    return rows


def row(what, name, figure, unit, ratios):
    low, high, covered = interval(ratios)
    verdict = ''
    if len(ratios) > 1 and covered >= MIN_COVERAGE and (low > 1 or high < 1):
        verdict = 'better' if (low > 1) == (figure in MORE_IS_BETTER) else 'worse'
    return {'what': what, 'name': name, 'figure': figure, 'unit': unit, 'ratio': statistics.median(ratios), 'quartiles': quartiles(ratios),
            'interval': (low, high), 'coverage': covered, 'rounds': len(ratios), 'verdict': verdict}


HEAD = ('', 'server', 'figure', 'new/base', 'quartiles', 'median is within', 'rounds', '')


def cells(r):
    within = f'{r["interval"][0]:.3f}–{r["interval"][1]:.3f} ({r["coverage"]:.0%})' if r['rounds'] > 1 else '–'
    return [r['what'], r['name'], r['unit'], f'{r["ratio"]:.3f}', '{:.3f}–{:.3f}'.format(*r['quartiles']), within, str(r['rounds']), r['verdict']]


def markdown(rows, label):
    """The table for a file of results."""
    lines = ['## base', '', f'New against base, which is {label}.',
             'Each is the median of the ratios of the rounds, in which both took turns. "Better" and "worse" stand where the interval for',
             'the median leaves out 1; elsewhere no difference was seen.', '',
             '| ' + ' | '.join(HEAD) + ' |', '| --- | --- | --- | ---: | ---: | ---: | ---: | --- |']
    return '\n'.join([*lines, *('| ' + ' | '.join(cells(r)) + ' |' for r in rows), '', ''])


def plain(rows, label):
    """The same for a terminal."""
    table = [list(HEAD), *(cells(r) for r in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    return '\n'.join([f'new against base, {label}', *('  '.join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in table)])
