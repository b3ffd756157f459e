// The status page. What the daemon says is shown as text only (textContent): a client that names
// itself like markup is shown as it is.
'use strict';

const INTERVAL = 2000; // milliseconds between two looks
const POINTS = 150; // of a chart: five minutes
const SHOWN = 100; // sessions

const $ = id => document.getElementById(id);

// element returns a new element with a text and a class.
function element(tag, text, cls) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  return e;
}

function count(n) {
  return Math.round(n).toLocaleString('en');
}

function rate(n) {
  return n >= 100 ? count(n) : n.toFixed(1);
}

function size(n) {
  if (n < 0) return 'unknown';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i === 0 ? String(Math.round(n)) : n.toFixed(1)) + ' ' + units[i];
}

// span returns a number of seconds in its two largest units.
function span(s) {
  s = Math.max(0, Math.floor(s));
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const out = [];
  for (const [unit, name] of parts) {
    if (s >= unit && out.length < 2) out.push(Math.floor(s / unit) + ' ' + name);
    s %= unit;
  }
  return out.join(' ') || '0 s';
}

// since returns how long ago a time of the daemon was, by the daemon's clock.
function since(time, now) {
  const at = Date.parse(time);
  return at > 0 ? span((now - at) / 1000) + ' ago' : 'never';
}

// fill replaces the rows of a table. A cell is a text, or [text, class].
function fill(id, rows, none) {
  const body = $(id).tBodies[0];
  const width = $(id).tHead.rows[0].cells.length;
  const made = rows.map(cells => {
    const row = element('tr');
    for (const c of cells) row.append(Array.isArray(c) ? element('td', c[0], c[1]) : element('td', c));
    return row;
  });
  if (made.length === 0) {
    const row = element('tr');
    const cell = element('td', none, 'soft');
    cell.colSpan = width;
    row.append(cell);
    made.push(row);
  }
  body.replaceChildren(...made);
}

// Charts: the last values of each rate.
const charts = [
  { title: 'Records a second', of: s => sum(s, l => l.rates.records), show: rate, values: [] },
  { title: 'Bytes a second', of: s => sum(s, l => l.rates.bytes), show: size, values: [] },
  { title: 'New clients a second', of: s => sum(s, l => l.rates.visits), show: rate, values: [] },
  { title: 'Clients', of: s => s.clients, show: count, values: [] },
];

function sum(status, of) {
  return status.listeners.reduce((n, l) => n + of(l), 0);
}

function drawCharts(status) {
  for (const c of charts) {
    if (!c.path) {
      const figure = element('figure');
      const caption = element('figcaption');
      c.now = element('b');
      caption.append(element('span', c.title), c.now);
      const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      svg.setAttribute('viewBox', '0 0 ' + (POINTS - 1) + ' 40');
      svg.setAttribute('preserveAspectRatio', 'none');
      svg.setAttribute('aria-hidden', 'true');
      c.path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      svg.append(c.path);
      figure.append(caption, svg);
      $('charts').append(figure);
    }
    c.values.push(c.of(status));
    if (c.values.length > POINTS) c.values.shift();
    const top = Math.max(...c.values, 1e-9);
    const from = POINTS - c.values.length;
    c.path.setAttribute('d', c.values.map((v, i) =>
      (i ? 'L' : 'M') + (from + i) + ' ' + (39 - 37 * v / top).toFixed(2)).join(''));
    c.now.textContent = c.show(c.values[c.values.length - 1]);
  }
}

function drawFacts(s, now) {
  const facts = [
    ['Version', s.version],
    ['Up', span((now - Date.parse(s.started)) / 1000)],
    ['Clients', count(s.clients) + ' of ' + count(s.limit)],
    ['Outlive a crash', s.survive.on ? count(s.survive.clients) : 'none'],
    ...(s.tls && s.tls.clients ? [['TLS', count(s.tls.clients) + ', ' + count(s.tls.survive) + ' outlive a crash']] : []),
    ['Configuration', (s.config.file || 'built in') + (s.config.differs ? ', which has changed' : '')],
  ];
  $('facts').replaceChildren(...facts.map(([name, value]) => {
    const d = element('div');
    d.append(element('dt', name), element('dd', value));
    return d;
  }));
}

function drawStatus(s) {
  for (const key of ['listeners', 'files', 'problems', 'unready']) s[key] = s[key] || []; // null is none
  const now = Date.parse(s.now);
  const well = s.problems.length === 0 && s.unready.length === 0;
  say(s.phase + (well ? ', all is well' : ''), well ? 'good' : 'bad');
  drawFacts(s, now);
  const problems = [...new Set([...s.problems, ...s.unready])];
  $('problems').hidden = problems.length === 0;
  $('problem-list').replaceChildren(...problems.map(p => element('li', p)));
  drawCharts(s);
  fill('listeners', s.listeners.map(l => [
    l.name,
    [(l.addresses || []).join(' '), 'code'],
    [l.limit ? l.clients + ' of ' + l.limit : count(l.clients), 'n'],
    [rate(l.rates.records), 'n'],
    [size(l.rates.bytes), 'n'],
    [count(l.counts.records), 'n'],
    [count(Object.values(l.counts.refused || {}).reduce((a, b) => a + b, 0)), 'n'],
    l.fault ? [l.fault, 'bad'] : l.draining ? ['draining', 'warn'] : ['serving', 'good'],
  ]), 'There is no listener.');
  fill('files', s.files.map(f => [
    [f.path === '-' ? 'standard output' : f.path, 'code'],
    [size(f.size), 'n'],
    [size(f.free), 'n'],
    [size(f.waiting), 'n'],
    since(f.written, now),
    since(f.synced, now),
    f.failing ? [f.error || 'cannot be written', 'bad'] : f.troubles && f.troubles.length ? [f.troubles.join('; '), 'warn'] : ['written', 'good'],
  ]), 'There is no record file.');
  const select = $('listener');
  const names = ['', ...s.listeners.map(l => l.name)];
  if (names.length !== select.options.length || names.some((n, i) => select.options[i].value !== n)) {
    const was = select.value;
    select.replaceChildren(...names.map(n => {
      const o = element('option', n || 'all');
      o.value = n;
      return o;
    }));
    select.value = names.includes(was) ? was : '';
  }
  return now;
}

// tlsOf returns how a client speaks TLS, and the subject of its certificate.
function tlsOf(tls) {
  if (!tls) return '-';
  return tls.version + (tls.kernel ? ' kernel' : ' user space') + (tls.subject ? ' ' + tls.subject : '');
}

function drawSessions(answer, now) {
  answer.sessions = answer.sessions || [];
  $('count').textContent = answer.total > answer.sessions.length
    ? count(answer.sessions.length) + ' of ' + count(answer.total) : count(answer.total);
  fill('sessions', answer.sessions.map(s => [
    [s.id, 'code'],
    s.listener,
    [s.proxy ? s.remote + ' via ' + s.proxy : s.remote, 'code'],
    span((now - Date.parse(s.opened)) / 1000),
    since(s.heard, now),
    [count(s.records), 'n'],
    [size(s.bytes), 'n'],
    s.state,
    tlsOf(s.tls),
  ]), 'No session matches.');
}

function say(text, cls) {
  $('state').textContent = text;
  $('state').className = cls;
  document.title = (cls === 'bad' ? '! ' : '') + 'tcpmux: ' + text;
}

async function fetched(path) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(10000) });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(value.error || 'status ' + answer.status);
  return value;
}

let timer = 0;
let looking = false;
let again = false; // the filter has changed meanwhile

async function look() {
  clearTimeout(timer);
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  try {
    const now = drawStatus(await fetched('v1/status'));
    const query = new URLSearchParams({ limit: SHOWN, sort: $('sort').value });
    if ($('listener').value) query.set('listener', $('listener').value);
    if ($('source').value.trim()) query.set('source', $('source').value.trim());
    try {
      drawSessions(await fetched('v1/sessions?' + query), now);
    } catch (err) {
      fill('sessions', [], String(err.message || err));
      $('count').textContent = '';
    }
  } catch (err) {
    say('no answer: ' + (err.message || err), 'bad');
  }
  looking = false;
  timer = setTimeout(look, again ? 0 : INTERVAL);
  again = false;
}

$('filter').addEventListener('submit', e => e.preventDefault());
$('filter').addEventListener('input', look);
document.addEventListener('visibilitychange', () => document.hidden ? clearTimeout(timer) : look());
look();
