// The live page: asks each part of /api by itself, draws it, and says how old it is. Loads nothing else.
'use strict';

// ------------------------------------------------------------------------------------------------------ small things

const by = id => document.getElementById(id);
const NONE = '–';

function el(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function svg(tag, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function write(id, text, className) {
  const node = by(id);
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

const last = values => values[values.length - 1];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// ----------------------------------------------------------------------------------------------------------- numbers

const fixed = digits => new Intl.NumberFormat('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits});
const WHOLE = fixed(0), CENTS = fixed(2);
const GENERAL = new Intl.NumberFormat('en-US', {maximumSignificantDigits: 6});
const minus = text => text.replace('-', '−');

const known = value => value !== null && value !== undefined && Number.isFinite(value);
const count = value => known(value) ? WHOLE.format(value) : NONE;
const general = value => known(value) ? minus(GENERAL.format(value)) : NONE;
const amount = value => known(value) ? minus(CENTS.format(value + 0)) : NONE;
const money = value => known(value) ? minus((Math.abs(value) >= 10000 ? WHOLE : CENTS).format(value)) : NONE;
const signed = (value, form) => known(value) ? (value > 0 ? '+' : '') + form(value) : NONE;
const tone = value => value > 0 ? 'gain' : value < 0 ? 'loss' : '';

function percent(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(100 * value);
  const digits = size >= 0.1 || size < 1e-7 ? 2 : 1 - Math.floor(Math.log10(size));
  return minus(fixed(digits).format(100 * value)) + ' %';
}

const bps = value => known(value) ? minus(fixed(Math.abs(value) < 1e-3 ? 2 : 1).format(1e4 * value)) : NONE;

function span(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${count(Math.round(seconds / 86400))} days`;
}

function bytes(value) {
  if (!known(value)) return NONE;
  const power = value < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(value) / 10));
  return `${fixed(power ? 1 : 0).format(value / 1024 ** power)} ${['B', 'KiB', 'MiB', 'GiB'][power]}`;
}

const iso = ms => new Date(ms).toISOString();
const clock = (ms, digits = 0) => iso(ms).slice(11, digits ? 20 + digits : 19);
const day = ms => iso(ms).slice(0, 10);

// ------------------------------------------------------------------------------------------------------------- parts

const parts = {};
let skew = 0;                 // the server's clock less this one, ms: ages are reckoned by the server's
let silentSince = null;       // since when the page's own server does not answer
let range = '15m';
const now = () => Date.now() + skew;
const age = part => part.asOf === null ? null : Math.max(0, (now() - part.asOf) / 1000);

function part(name, everyMs, draw, query = () => '') {
  parts[name] = {name, everyMs, draw, query, data: null, error: null, asOf: null, tag: null, path: '', busy: false, due: 0};
}

async function ask(p) {
  const path = `/api/${p.name}${p.query()}`;
  if (path !== p.path) p.tag = null;
  p.busy = true;
  p.due = Date.now() + p.everyMs;
  try {
    const abort = AbortSignal.timeout(15000);
    const answer = await fetch(path, {headers: p.tag ? {'If-None-Match': p.tag} : {}, cache: 'no-store', signal: abort});
    const clockMs = Number(answer.headers.get('X-Now-Ms'));
    if (clockMs) skew = clockMs - Date.now();
    if (answer.status !== 304 && !answer.ok) throw new Error(`HTTP ${answer.status}`);
    silentSince = null;
    if (answer.status !== 304 && path === `/api/${p.name}${p.query()}`) take(p, await answer.json(), answer, path);
  } catch (error) {
    silentSince ??= Date.now();
  }
  p.busy = false;
  ages();
}

function take(p, told, answer, path) {
  p.tag = answer.headers.get('ETag');
  p.error = told.error;
  if (told.error !== null && p.path !== path) p.data = p.asOf = null; // what was shown answered another question
  p.path = path;
  if (p.data === null) p.blank?.(told.error);
  if (told.error === null) {
    p.data = told.data;
    p.asOf = told.as_of_ms;
    p.draw(told.data);
  }
}

function turn() {
  if (document.hidden) return;
  for (const p of Object.values(parts)) if (!p.busy && Date.now() >= p.due) ask(p);
}

// ------------------------------------------------------------------------------------------------------------ ages

const OLD_S = 10;

function ages() {
  for (const section of document.querySelectorAll('[data-part]')) {
    const own = section.dataset.part.split(' ').map(name => parts[name]);
    const failed = own.filter(p => p.error !== null), held = own.filter(p => p.data !== null);
    const oldest = held.length ? Math.max(...held.map(age).map(seconds => seconds ?? 0)) : null;
    const whole = failed.length === own.length;
    section.classList.toggle('gone', silentSince !== null || (whole && held.length > 0));
    const label = section.querySelector('.age');
    if (!label) continue;
    const told = failed.map(p => p.error).join(', ');
    const shown = held.length ? `${failed.length ? '; shown is ' : ''}${span(oldest)} old` : failed.length ? '' : 'asking';
    const text = told + shown;
    if (label.textContent !== text) label.textContent = text;
    label.className = `age ${failed.length ? 'bad' : oldest > OLD_S ? 'warn' : ''}`.trim();
  }
  health();
  notices();
}

function pulse(level, text) {
  by('pulse').dataset.level = level;
  write('pulse-text', text);
}

const listed = names => names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${last(names)}`;

const STATES = {HALTED: 'No order passes.', REDUCING: 'Only orders that make a position smaller pass.'};

function notices() {
  const found = [], account = parts.account, seconds = age(account);
  if (silentSince !== null) {
    found.push(['bad', '', `The page’s server does not answer. What is below is ${span((Date.now() - silentSince) / 1000)} old or more.`]);
  } else {
    const failed = Object.values(parts).filter(p => p.error !== null), silent = ' does not answer';
    const away = [...new Set(failed.filter(p => p.error.endsWith(silent)).map(p => p.error.slice(0, -silent.length)))];
    const other = [...new Set(failed.filter(p => !p.error.endsWith(silent)).map(p => p.error))];
    const told = [...other, ...(away.length ? [`${listed(away)} ${away.length > 1 ? 'do' : 'does'} not answer`] : [])];
    if (told.length) found.push(['bad', '', `${told.join('. ')}. What comes from there is not shown, or shown with its age.`]);
    for (const [level, text] of worries()) found.push([level, '', text]);
  }
  const a = account.data;
  if (a && a.known && STATES[a.state]) {
    found.unshift([a.state === 'HALTED' ? 'bad' : 'warn', a.state, ` ${a.state_why ? `${a.state_why[0].toUpperCase()}${a.state_why.slice(1)}. ` : ''}${STATES[a.state]}`]);
  }
  const text = JSON.stringify(found);
  if (notices.text !== text) {
    notices.text = text;
    by('notices').replaceChildren(...found.map(([level, strong, words]) => el('p', `notice ${level}`, strong ? el('b', '', strong) : null, words)));
  }
  if (silentSince !== null) pulse('bad', 'no answer');
  else if (account.error !== null) pulse('bad', account.error);
  else if (seconds === null) pulse('wait', a && !a.known ? 'no account yet' : 'asking');
  else if (a && !a.known) pulse('wait', 'no account yet');
  else pulse(seconds > OLD_S ? 'warn' : 'ok', seconds > OLD_S ? `last mark ${span(seconds)} ago` : 'live');
}

// What is wrong although every source answers: [level, sentence].
function worries() {
  const found = [], jobs = parts.jobs.data, flow = parts.flow.data;
  if (parts.jobs.error === null && jobs) {
    const chain = jobs.jobs.filter(job => job.chain), dead = chain.filter(job => job.state !== 'RUNNING');
    if (!chain.length) found.push(['bad', 'No job of the chain runs: nothing is decided.']);
    for (const job of dead) found.push(['bad', `Job ${job.name} is ${job.state}.`]);
  }
  if (parts.flow.error === null && flow && flow.feed_age_s > FEED_OLD_S) {
    found.push(['warn', `The feed is silent: its newest tick came ${span(flow.feed_age_s)} ago.`]);
  }
  return found;
}

// ---------------------------------------------------------------------------------------------------------- account

const WAITING = 'No account yet: the chain sends its first mark when the strategy is warm.';

function drawAccount(a) {
  if (!a.known) {
    for (const id of ['risk', 'positions']) by(id).replaceChildren(el('p', 'empty', WAITING));
    return;
  }
  document.title = `${money(a.equity)} ${a.state === 'ACTIVE' ? '' : `${a.state} `}· Sigmaflow`;
  write('strategy', [`account ${a.account}`, a.strategy && `${a.strategy} ${a.config_digest}`].filter(Boolean).join(' · '));
  write('equity', amount(a.equity));
  write('since', `${signed(a.profit, amount)} (${signed(a.profit / a.start_equity, percent)}) since the start`, tone(a.profit));
  write('drawdown', percent(a.drawdown));
  write('peak', `from ${money(a.peak_equity)}`);
  write('state', a.state);
  by('state').dataset.state = a.state;
  write('cause', a.state_cause === 'NONE' ? 'every limit holds' : a.state_cause.toLowerCase().replace('_', ' '));
  write('orders', count(a.orders));
  write('fills', `${count(a.fills)} fills, ${count(a.decisions)} decisions`);
  write('mark', clock(a.event_ms));
  write('mark-day', `${day(a.event_ms)} UTC`);
  drawRisk(a);
  drawPositions(a);
}

const RISK = {
  cvar: ['CVaR 97.5 %, one bar', money],
  gross: ['Gross exposure', money],
  largest: ['Largest position', money],
  drawdown: ['Drawdown', percent],
};

function drawRisk(a) {
  const rows = a.risk.map(item => meter(...RISK[item.name], item, a));
  const pair = (name, text, className) => [el('dt', '', name), el('dd', className || '', text)];
  rows.push(el('dl', 'pairs', ...pair('Net exposure', money(a.net)), ...pair('Gross over equity', percent(a.gross / a.equity)), ...pair('Cash', money(a.cash))));
  by('risk').replaceChildren(...rows);
  write('risk-note', a.limits_from ? `Limits of ${a.limits_from}.` : 'Limits are not known: the chain runs a profile that this code does not have.');
}

function meter(label, form, item, a) {
  const use = known(item.limit) ? item.value / item.limit : null;
  const level = use === null ? '' : use >= 1 ? 'bad' : use >= 0.8 || (known(item.warn) && item.value >= item.warn) ? 'warn' : 'ok';
  const row = el('div', 'row', el('span', '', label), el('b', '', form(item.value)));
  const made = el('div', 'meter', row);
  made.dataset.level = level;
  made.dataset.name = item.name;
  if (use === null) {
    made.append(el('small', '', a.limits_from ? 'no limit' : 'limit not known'));
    return made;
  }
  const fill = el('i'), bar = el('div', 'bar', fill);
  fill.style.width = `${100 * clamp(use, item.value > 0 ? 0.004 : 0, 1)}%`;
  if (known(item.warn)) {
    const mark = el('u');
    mark.style.left = `${100 * item.warn / item.limit}%`;
    bar.append(mark);
  }
  bar.setAttribute('role', 'meter');
  bar.setAttribute('aria-label', label);
  bar.setAttribute('aria-valuemin', '0');
  bar.setAttribute('aria-valuemax', String(item.limit));
  bar.setAttribute('aria-valuenow', String(clamp(item.value, 0, item.limit)));
  bar.setAttribute('aria-valuetext', `${form(item.value)} of ${form(item.limit)}`);
  const words = known(item.warn) ? `reduce-only from ${form(item.warn)}, halt at ${form(item.limit)}` : `${percent(use)} of ${form(item.limit)}`;
  made.append(bar, el('small', '', words));
  return made;
}

const MOST_POSITIONS = 15;

function drawPositions(a) {
  const open = a.positions.filter(p => p.quantity !== 0).sort((p, q) => Math.abs(q.value) - Math.abs(p.value));
  const held = open.slice(0, MOST_POSITIONS), smaller = open.slice(MOST_POSITIONS);
  const flat = a.positions.filter(p => p.quantity === 0);
  if (!a.positions.length) {
    by('positions').replaceChildren(el('p', 'empty', 'No position has been taken yet.'));
    return;
  }
  const worth = held.length && Math.abs(held[0].value) >= 10000 ? value => minus(WHOLE.format(value)) : money;
  const cell = (text, className) => el('td', className || '', text);
  const heading = (text, className) => { const made = el('th', className || '', text); made.scope = 'col'; return made; };
  const head = el('thead', '', el('tr', '', heading('Symbol'), heading('Quantity'), heading('Mark', 'narrow'), heading('Value'), heading('Of gross', 'narrow'), heading('Profit')));
  const body = el('tbody', '', ...held.map(p => {
    const name = el('th', '', p.symbol);
    name.scope = 'row';
    return el('tr', '', name, cell(general(p.quantity)), cell(general(p.mid), 'narrow'), cell(worth(p.value)), cell(percent(Math.abs(p.value) / a.gross), 'narrow'), cell(signed(p.pnl, amount), tone(p.pnl)));
  }));
  for (const [few, what] of [[smaller, 'smaller'], [flat, 'flat']]) {
    if (!few.length) continue;
    const pnl = few.reduce((sum, p) => sum + p.pnl, 0), value = few.reduce((sum, p) => sum + p.value, 0);
    const name = el('th', 'soft', few.length === 1 ? `${few[0].symbol}, ${what}` : `${few.length} ${what}`);
    name.scope = 'row';
    name.title = few.map(p => p.symbol).join(', ');
    body.append(el('tr', '', name, cell(''), cell('', 'narrow'), cell(worth(value)), cell('', 'narrow'), cell(signed(pnl, amount), tone(pnl))));
  }
  const total = el('th', '', 'All');
  total.scope = 'row';
  const foot = el('tfoot', '', el('tr', '', total, cell(''), cell('', 'narrow'), cell(worth(a.net)), cell('', 'narrow'), cell(signed(a.profit, amount), tone(a.profit))));
  by('positions').replaceChildren(el('table', '', head, body, foot), el('p', 'note', 'Each symbol at its own last mark; the last line is the ledger’s own.'));
}

// ------------------------------------------------------------------------------------------------------------ curve

const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2419200];
let chosen = null;            // index of the point that pointer or keys are on

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map(m => m * power).find(step => step >= rough * 0.999);
}

function ticksOf(low, high, wanted) {
  const step = niceStep((high - low) / wanted), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return [found, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9) + (String(step).includes('25') ? 1 : 0))];
}

function timeTicks(low, high, wanted) {
  const seconds = (high - low) / 1000, step = TIME_STEPS_S.find(s => seconds / s <= wanted) ?? last(TIME_STEPS_S), found = [];
  for (let t = Math.ceil(low / 1000 / step) * step * 1000; t <= high; t += step * 1000) found.push(t);
  return [found, t => step < 60 ? clock(t) : step < 86400 ? clock(t).slice(0, 5) : new Date(t).toLocaleDateString('en-GB', {day: 'numeric', month: 'short', timeZone: 'UTC'})];
}

// Runs of points without a hole: [first, last] indices.
function runs(c) {
  const found = [], hole = Math.max(5 * c.step_ms, 10000);
  let first = 0;
  for (let i = 1; i <= c.t_ms.length; i++) {
    if (i === c.t_ms.length || c.t_ms[i] - c.t_ms[i - 1] > hole) { found.push([first, i - 1]); first = i; }
  }
  return found;
}

function frame(box, c, low, high, wanted, form) {
  const width = box.clientWidth, height = box.clientHeight;
  const [values, digits] = ticksOf(low, high, wanted), labels = values.map(value => form(value, digits));
  const left = c.left ?? 10 + 6.7 * Math.max(...labels.map(text => text.length)), right = width - 10, top = 8, bottom = height - (c.bare ? 6 : 22);
  const start = c.t_ms[0], end = Math.max(last(c.t_ms), start + 1);
  const x = t => left + (t - start) / (end - start) * (right - left);
  const y = v => top + (high - v) / (high - low) * (bottom - top);
  const made = svg('svg', {viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true'});
  values.forEach((value, i) => {
    made.append(svg('line', {class: 'grid', x1: left, x2: right, y1: y(value), y2: y(value)}));
    made.append(svg('text', {class: 'tick', x: left - 7, y: y(value) + 4, 'text-anchor': 'end'}, labels[i]));
  });
  if (!c.bare) {
    const [times, name] = timeTicks(start, end, Math.max(2, (right - left) / 85));
    for (const t of times) if (x(t) > left + 16 && x(t) < right - 16) made.append(svg('text', {class: 'tick', x: x(t), y: height - 5, 'text-anchor': 'middle'}, name(t)));
  }
  box.replaceChildren(made);
  return {made, x, y, left, right, top, bottom};
}

const path = (points, close = '') => `M${points.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join('L')}${close}`;

function drawCurve(c) {
  if (!c.t_ms.length) {
    for (const id of ['chart-equity', 'chart-drawdown']) by(id).replaceChildren(el('p', 'empty', id === 'chart-equity' ? 'No mark yet.' : ''));
    write('readout', '');
    return;
  }
  drawEquity(c);
  drawDrawdown(c);
  readout();
}

function drawEquity(c) {
  const low = Math.min(...c.low), high = Math.max(...c.high), air = 0.07 * (high - low) || Math.max(1e-9, Math.abs(high) * 1e-5);
  const box = by('chart-equity'), f = frame(box, c, low - air, high + air, 6, (value, digits) => minus(fixed(Math.min(digits, 6)).format(value)));
  for (const [a, b] of runs(c)) {
    const at = [...Array(b - a + 1).keys()].map(i => a + i), line = at.map(i => [f.x(c.t_ms[i]), f.y(c.equity[i])]);
    f.made.append(svg('path', {class: 'area', d: path([...line, [last(line)[0], f.bottom], [line[0][0], f.bottom]], 'Z')}));
    f.made.append(svg('path', {class: 'band', d: path([...at.map(i => [f.x(c.t_ms[i]), f.y(c.high[i])]), ...at.reverse().map(i => [f.x(c.t_ms[i]), f.y(c.low[i])])], 'Z')}));
    f.made.append(svg('path', {class: 'line', d: path(line)}));
  }
  f.dot = svg('circle', {class: 'dot', r: 4.5});
  f.cross = svg('line', {class: 'cross', y1: f.top, y2: f.bottom});
  f.made.append(f.cross, f.dot);
  box.frame = f;
  box.setAttribute('aria-label', `Equity from ${amount(c.equity[0])} at ${clock(c.t_ms[0])} to ${amount(last(c.equity))} at ${clock(last(c.t_ms))} UTC, lowest ${amount(low)}, highest ${amount(high)}`);
}

function drawDrawdown(c) {
  const most = Math.max(...c.drawdown, 1e-6), box = by('chart-drawdown');
  const f = frame(box, {...c, bare: true, left: by('chart-equity').frame.left}, -most * 1.08, 0, 2, (value, digits) => `${minus(fixed(Math.max(0, digits - 2)).format(100 * value + 0))} %`);
  for (const [a, b] of runs(c)) {
    const line = [...Array(b - a + 1).keys()].map(i => [f.x(c.t_ms[a + i]), f.y(-c.drawdown[a + i])]);
    f.made.append(svg('path', {class: 'area down', d: path([...line, [last(line)[0], f.y(0)], [line[0][0], f.y(0)]], 'Z')}));
    f.made.append(svg('path', {class: 'line down', d: path(line)}));
  }
  box.setAttribute('aria-label', `Drawdown: largest ${percent(most)}, now ${percent(last(c.drawdown))}`);
}

function readout() {
  const c = parts.curve.data, f = by('chart-equity').frame;
  if (!c || !c.t_ms.length || !f) return;
  const end = c.t_ms.length - 1, i = chosen === null ? end : clamp(chosen, 0, end);
  f.dot.setAttribute('cx', f.x(c.t_ms[i]));
  f.dot.setAttribute('cy', f.y(c.equity[i]));
  f.cross.setAttribute('x1', f.x(c.t_ms[i]));
  f.cross.setAttribute('x2', f.x(c.t_ms[i]));
  f.cross.setAttribute('visibility', chosen === null ? 'hidden' : 'visible');
  const value = (name, text, className) => el('span', '', ` · ${name} `, el('b', className || '', text));
  const change = c.equity[i] - c.equity[0];
  by('readout').replaceChildren(
    chosen === null ? `to ${clock(c.t_ms[i])}` : `${day(c.t_ms[i])} ${clock(c.t_ms[i])}`,
    value('', amount(c.equity[i])), value('', `${signed(change, amount)} (${signed(change / c.equity[0], percent)})`, tone(change)),
    chosen === null ? '' : value('drawdown', percent(c.drawdown[i])), chosen === null ? '' : value('gross', money(c.gross[i])), chosen === null ? '' : value('CVaR', money(c.cvar[i])));
}

function choose(index) {
  chosen = index;
  readout();
}

function nearest(event) {
  const c = parts.curve.data, f = by('chart-equity').frame;
  if (!c || !f || !c.t_ms.length) return null;
  const x = event.clientX - by('chart-equity').getBoundingClientRect().left;
  let low = 0, high = c.t_ms.length - 1;
  while (low < high) { const mid = (low + high) >> 1; if (f.x(c.t_ms[mid]) < x) low = mid + 1; else high = mid; }
  return low > 0 && x - f.x(c.t_ms[low - 1]) < f.x(c.t_ms[low]) - x ? low - 1 : low;
}

function chartKeys(event) {
  const c = parts.curve.data;
  if (!c || !c.t_ms.length) return;
  const end = c.t_ms.length - 1, at = chosen ?? end, step = event.shiftKey ? 10 : 1;
  const to = {ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: end}[event.key];
  if (event.key === 'Escape') choose(null);
  if (to === undefined) return;
  event.preventDefault();
  choose(clamp(to, 0, end));
}

// ----------------------------------------------------------------------------------------------------------- health

const FEED_OLD_S = 30, CHECKPOINT_OLD_S = 60;

function lamp(level, name, ...text) {
  const light = el('span', 'lamp');
  light.dataset.level = level;
  light.setAttribute('aria-hidden', 'true');
  const words = {ok: '', warn: 'attention: ', bad: 'not ok: '}[level] ?? '';
  const dd = el('dd', '', words ? el('span', 'hidden', words) : null, ...text);
  return el('div', '', light, el('dt', '', name), dd);
}

function health() {
  const rows = [], jobs = parts.jobs, flow = parts.flow, servers = parts.servers, account = parts.account;
  if (jobs.error !== null) rows.push(lamp('bad', 'Chain', jobs.error));
  else if (jobs.data) rows.push(...jobRows(jobs.data.jobs, age(jobs) ?? 0));
  if (flow.error !== null) rows.push(lamp('bad', 'Feed', flow.error));
  else if (flow.data) rows.push(...flowRows(flow.data, age(flow) ?? 0));
  if (account.error !== null) rows.push(lamp('bad', 'Results', account.error));
  else if (account.data?.known) {
    const seconds = Math.max(0, (now() - account.data.snapshot_ms) / 1000);
    rows.push(lamp(seconds > OLD_S ? 'bad' : 'ok', 'Results', `last wrote ${span(seconds)} ago`));
  }
  if (servers.data) {
    const all = Object.entries(servers.data.servers), away = all.filter(([, answers]) => !answers);
    const chips = el('span', 'servers', ...all.map(([name, answers]) => el('span', answers ? '' : 'no', answers ? name : `${name} silent`)));
    rows.push(lamp(away.length ? 'bad' : 'ok', 'Servers', chips));
  }
  const text = rows.map(row => `${row.firstChild.dataset.level}${row.textContent}`).join('\n');
  if (rows.length && health.text !== text) {
    health.text = text;
    by('health').replaceChildren(el('dl', 'health', ...rows));
  }
}

function jobRows(jobs, sinceS) {
  if (!jobs.length) return [lamp('bad', 'Chain', 'no job runs')];
  return jobs.flatMap(job => {
    const runs = job.state === 'RUNNING', name = job.chain ? 'Chain' : 'Run apart';
    const first = lamp(runs ? 'ok' : 'bad', name, `${job.name} ${job.state}${runs ? ` for ${span(job.uptime_s)}` : ''}`);
    if (!runs) return [first];
    const seconds = known(job.age_s) ? job.age_s + sinceS : null;
    const level = seconds !== null && seconds > CHECKPOINT_OLD_S ? 'bad' : seconds === null || job.failing ? 'warn' : 'ok';
    const text = seconds === null ? 'none completed yet' : `${count(job.checkpoints)}, newest ${span(seconds)} ago, ${count(job.took_ms)} ms, ${bytes(job.bytes)}`;
    return [first, lamp(level, 'Checkpoints', text + (job.failed ? `; ${count(job.failed)} failed` : ''))];
  });
}

function flowRows(flow, sinceS) {
  const feed = known(flow.feed_age_s) ? flow.feed_age_s + sinceS : null;
  const level = feed === null || feed > FEED_OLD_S ? 'warn' : 'ok';
  const rate = known(flow.ticks_per_s) ? `${count(Math.round(flow.ticks_per_s))} ticks/s, ` : '';
  const late = known(flow.lag_s) && flow.lag_s > 30;
  const lag = known(flow.lag) ? `${count(flow.lag)} ticks${known(flow.lag_s) ? ` (${fixed(1).format(flow.lag_s)} s)` : ''} not final` : 'not known before the first checkpoint';
  const dead = flow.dead_letters ? `${count(flow.dead_letters)}, newest ${span(flow.dead_letter_age_s + sinceS)} ago` : 'none';
  const fresh = flow.dead_letters > 0 && flow.dead_letter_age_s + sinceS < 300;
  return [
    lamp(level, 'Feed', feed === null ? 'no tick yet' : `${rate}newest ${span(feed)} ago`),
    lamp(late ? 'warn' : known(flow.lag) ? 'ok' : '', 'Lag', lag),
    lamp(fresh ? 'warn' : 'ok', 'Dead letters', dead),
  ];
}

// -------------------------------------------------------------------------------------------------------- decisions

const FEW = 12;
let kind = 'judged', all = false;
const VERDICTS = {sent: 'sent', stopped: 'stopped', idle: 'no order'};
const EMPTY = {judged: 'No order has been asked for yet. Why: “Newest of each symbol” has the gate that failed.', newest: 'No decision yet.'};

function drawDecisions(d, force = false) {
  const list = by('decisions'), rows = all ? d[kind] : d[kind].slice(0, FEW), open = list.querySelector('details[open]');
  const shown = [...list.children].map(item => item.dataset.id), wanted = rows.map(row => row.id);
  if (open && !force) {
    const fresh = wanted.filter(id => !shown.includes(id)).length;
    by('held').hidden = !fresh;
    if (fresh) {
      const show = el('button', '', `${fresh} newer`);
      show.type = 'button';
      show.addEventListener('click', () => { list.replaceChildren(); drawDecisions(parts.decisions.data, true); by('held').hidden = true; });
      if (by('held').dataset.fresh !== String(fresh)) by('held').replaceChildren('Held while a row is open. ', show);
      by('held').dataset.fresh = String(fresh);
    }
    return;
  }
  by('held').hidden = true;
  by('more').hidden = d[kind].length <= FEW;
  write('more', all ? `Show ${FEW}` : `Show all ${d[kind].length}`);
  if (!rows.length) { list.replaceChildren(el('li', 'empty', EMPTY[kind])); return; }
  if (shown.join() === wanted.join()) return;
  const kept = Object.fromEntries([...list.children].map(item => [item.dataset.id, item]));
  const focused = document.activeElement?.closest?.('#decisions li')?.dataset.id;
  list.replaceChildren(...rows.map(row => kept[row.id] ?? decision(row)));
  if (focused) [...list.children].find(item => item.dataset.id === focused)?.querySelector('summary')?.focus({preventScroll: true});
}

function decision(d) {
  const forecast = `${signed(d.mu, bps)} ± ${bps(d.sigma)} bps`;
  const cause = [d.top_alpha, d.binding_constraint].filter(Boolean).join(' · ').replaceAll('_', ' ');
  const arrow = el('span', 'open', '›');
  arrow.setAttribute('aria-hidden', 'true');
  const forecastCell = el('span', 'forecast', forecast), byCell = el('span', 'by', cause);
  forecastCell.title = 'forecast of the return over its horizon, plus or minus one standard deviation of its error';
  byCell.title = 'alpha with the largest part in the score, and what set the size';
  const summary = el('summary', '', el('span', 'when', clock(d.event_ms, 3)), el('span', 'what', d.symbol), el('span', `chip ${d.verdict}`, VERDICTS[d.verdict]), el('span', 'why', d.reason), forecastCell, byCell, arrow);
  const details = el('details', '', summary);
  details.addEventListener('toggle', () => {
    if (details.open && details.children.length === 1) details.append(detail(d));
    if (!details.open && parts.decisions.data) drawDecisions(parts.decisions.data);
  });
  const item = el('li', '', details);
  item.dataset.id = d.id;
  item.dataset.verdict = d.verdict;
  return item;
}

function detail(d) {
  const gates = d.gates.map(g => {
    const mark = el('span', g.passed ? '' : 'no', `${g.passed ? '✓' : '✗'} ${g.gate.replaceAll('_', ' ')}`);
    if (!g.passed) mark.append(el('span', 'hidden', ' failed'));
    return el('li', '', mark, el('span', 'num', known(g.limit) ? `${general(g.value)} / ${general(g.limit)}` : `${general(g.value)} / no limit`));
  });
  const facts = {
    'Event time': iso(d.event_ms).replace('T', ' ').replace('Z', ' UTC'), 'Place in the account’s order': count(d.account_seq),
    'Score': general(d.score), 'Mid': general(d.mid), 'Spread': `${bps(d.spread / d.mid)} bps`, 'CVaR 97.5 % of a unit': `${bps(d.cvar_975)} bps`,
    'Target': money(d.target_notional), 'Position after': general(d.position), 'State': d.state, 'Venue': d.venue,
    'Model': d.model_digest || 'none', 'Decision': d.id, 'Order': d.order_id ?? 'none',
  };
  const dl = el('dl', 'facts', ...Object.entries(facts).map(([name, text]) => el('div', '', el('dt', '', name), el('dd', '', text))));
  return el('div', 'detail', el('p', 'soft', 'Gates: value / limit'), el('ol', 'gates', ...gates), dl, el('p', 'note', 'The whole path: ', el('code', '', `sigmaflow explain ${d.id}`)));
}

// ------------------------------------------------------------------------------------------------------------- start

function choice(group, name, take) {
  by(group).addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    for (const each of by(group).children) each.setAttribute('aria-pressed', String(each === button));
    take(button.dataset[name]);
  });
}

function blankCurve(error) {
  by('chart-equity').frame = null;
  by('chart-drawdown').replaceChildren();
  by('chart-equity').replaceChildren(el('p', 'empty', error ?? ''));
  write('readout', '');
}

part('account', 1000, drawAccount);
part('curve', 2000, drawCurve, () => `?range=${range}`);
parts.curve.blank = blankCurve;
part('decisions', 1000, d => drawDecisions(d));
part('jobs', 2000, () => {});
part('flow', 2000, () => {});
part('servers', 5000, () => {});

choice('ranges', 'range', value => { range = value; chosen = null; parts.curve.due = 0; turn(); });
choice('kinds', 'kind', value => { kind = value; by('decisions').replaceChildren(); if (parts.decisions.data) drawDecisions(parts.decisions.data, true); });
by('more').addEventListener('click', () => { all = !all; drawDecisions(parts.decisions.data, true); });
const chart = by('chart-equity');
chart.addEventListener('pointermove', event => choose(nearest(event)));
chart.addEventListener('pointerleave', () => choose(null));
chart.addEventListener('keydown', chartKeys);
chart.addEventListener('blur', () => choose(null));
new ResizeObserver(() => { if (parts.curve.data) drawCurve(parts.curve.data); }).observe(chart);
document.addEventListener('visibilitychange', turn);
setInterval(turn, 250);
setInterval(ages, 1000);
turn();
