// What is asked of the DNS statistics of a zone, and what comes back. The grammar is the one of the API's reports.

import { ApiError, get, withQuery } from './api';

export interface Report {
  rows: number;
  data: { dimensions: string[]; metrics: (number | null)[] }[];
  totals: Record<string, number | null>;
  estimated: boolean;
  other_count: number;
  resolution: string;
}

export interface ByTime {
  rows: number;
  data: { dimensions: string[]; metrics: (number | null)[][] }[];
  time_intervals: [string, string][];
  totals: Record<string, number | null>;
  estimated: boolean;
  other_count: number;
}

/** What the whole page is about. It stands in its address. */
export interface View {
  range: string;
  since?: string;
  until?: string;
  name?: string;
  code?: string;
  type?: string;
}

export const RANGES: [string, string, number, string][] = [
  ['30m', 'Last 30 minutes', 30, 'minute'],
  ['6h', 'Last 6 hours', 360, 'dekaminute'],
  ['24h', 'Last 24 hours', 1_440, 'hour'],
  ['7d', 'Last 7 days', 10_080, 'hour'],
  ['30d', 'Last 30 days', 43_200, 'day'],
  ['1y', 'Last year', 525_600, 'week'],
];

/** A time as the API takes it. */
const at = (time: number) => new Date(Math.floor(time / 1_000) * 1_000).toISOString().replace('.000Z', 'Z');

/** Minutes are kept for two days, and hours for ninety; what is older is drawn by what is kept of it. */
const MINUTES_KEPT = 2 * 1_440 - 60;
const HOURS_KEPT = 90 * 1_440 - 1_440;

/** From when to when, and how finely it is drawn. */
export function span(view: Pick<View, 'range' | 'since' | 'until'>, now = Date.now()): { since: string; until: string; delta: string } {
  if (view.since && view.until) {
    const minutes = (Date.parse(view.until) - Date.parse(view.since)) / 60_000;
    const age = (now - Date.parse(view.since)) / 60_000;
    const delta =
      age > HOURS_KEPT || minutes > 20_000 ? 'day' : age > MINUTES_KEPT || minutes > 1_000 ? 'hour' : minutes > 180 ? 'dekaminute' : 'minute';
    return { since: view.since, until: view.until, delta };
  }
  const [, , minutes, delta] = RANGES.find(([id]) => id === view.range) ?? (RANGES[1] as (typeof RANGES)[number]);
  return { since: at(now - minutes * 60_000), until: at(now), delta };
}

const SECONDS: Record<string, number> = { minute: 60, dekaminute: 600, hour: 3_600, day: 86_400, week: 604_800 };

/** A piece of a chart that somebody drew over, in seconds: what its points stand for, and some parts of it, so that there is something to see. */
export function piece(from: number, to: number, delta: string, now = Date.now()): { since: string; until: string } {
  const step = SECONDS[delta] ?? 60;
  const point = (seconds: number) => Math.round(seconds / Math.min(step, 86_400)) * Math.min(step, 86_400);
  const age = now / 60_000 - from / 60;
  const finest = age > HOURS_KEPT ? 86_400 : age > MINUTES_KEPT ? 3_600 : 60;
  // A point stands for the time that begins with it.
  const end = point(to) + step;
  return { since: at(Math.min(point(from), end - 5 * finest) * 1_000), until: at(end * 1_000) };
}

/** A name in the spelling of answers: lower case, without a dot behind it; a short one lies in the zone. */
export function asked(text: string, zone: string): string {
  const name = text.trim().toLowerCase().replace(/\.$/, '');
  if (name === '' || name === zone || name.endsWith(`.${zone}`)) return name;
  return name === '@' ? zone : `${name}.${zone}`;
}

/** Why what somebody typed is no name. */
export function unaskable(name: string): string | undefined {
  return /\s/.test(name) ? 'A space in a name is written as \\032.' : undefined;
}

/** What means something in a filter means nothing in a value. */
export const value = (text: string) => text.replaceAll(/[,;]/g, '\\$&');

/** All that has to be so; more of it in `also`. */
export function filters(view: View, also: string[] = []): string | undefined {
  const all = [
    view.name && `queryName==${value(view.name)}`,
    view.code && `responseCode==${value(view.code)}`,
    view.type && `queryType==${value(view.type)}`,
    ...also,
  ].filter((one) => one !== undefined && one !== '');
  return all.length > 0 ? all.join(';') : undefined;
}

/** The edge answers four such questions at a time, and others ask too. */
const AT_ONCE = 2;
const BUSY = 10505;
const BUSY_TURNS = 8;
const waiting: (() => void)[] = [];
let asking = 0;

/** Asks in turn; where the edge has its hands full, once more in a moment. */
export async function inTurn<T>(question: () => Promise<T>, pause_ms = 250): Promise<T> {
  if (asking >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  else asking += 1;
  try {
    for (let turn = 1; ; turn += 1) {
      try {
        return await question();
      } catch (error) {
        const busy = error instanceof ApiError && error.problems.some(({ code }) => code === BUSY);
        if (!busy || turn === BUSY_TURNS) throw error;
        await new Promise((go) => setTimeout(go, pause_ms * turn));
      }
    }
  } finally {
    const next = waiting.shift();
    if (next) next();
    else asking -= 1;
  }
}

export interface Question {
  metrics?: string;
  dimensions?: string;
  sort?: string;
  limit?: number;
  also?: string[];
}

export function path(zone: string, view: View, times: { since: string; until: string }, question: Question): string {
  const { metrics = 'queryCount', dimensions, sort, limit, also } = question;
  return withQuery(`/zones/${zone}/dns_analytics/report`, { metrics, dimensions, sort, limit, filters: filters(view, also), since: times.since, until: times.until });
}

export const report = (zone: string, view: View, times: { since: string; until: string }, question: Question): Promise<Report> =>
  inTurn(() => get<Report>(path(zone, view, times, question)));

export function bytime(zone: string, view: View, times: { since: string; until: string; delta: string }, dimensions: string): Promise<ByTime> {
  const asked = withQuery(`/zones/${zone}/dns_analytics/report/bytime`, {
    metrics: 'queryCount', dimensions, filters: filters(view), since: times.since, until: times.until, time_delta: times.delta,
  });
  return inTurn(() => get<ByTime>(asked));
}

/** Counts by one of several dimensions, the largest first. */
export function sums(of: { data: { dimensions: string[]; metrics: (number | null | (number | null)[])[] }[] }, dimension = 0): { name: string; value: number }[] {
  const found = new Map<string, number>();
  for (const { dimensions, metrics } of of.data) {
    const name = dimensions[dimension] ?? '';
    const counts = [metrics[0] ?? 0].flat();
    found.set(name, counts.reduce<number>((one, other) => one + (other ?? 0), found.get(name) ?? 0));
  }
  return [...found].map(([name, value]) => ({ name, value })).sort((one, other) => other.value - one.value);
}

/** How codes are coloured, and in which order they are stacked. */
export const CODES = ['NOERROR', 'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'FORMERR', 'NOTIMP'];

export interface Lines {
  times: number[];
  series: { name: string; values: number[] }[];
}

/** Series by the first dimension, known ones first in their order, the smallest ones put together. */
export function lines(of: ByTime, max = 6, known = CODES): Lines {
  const times = of.time_intervals.map(([begin]) => Date.parse(begin) / 1_000);
  const all = of.data.map(({ dimensions, metrics }) => ({
    name: dimensions[0] ?? '',
    values: times.map((_, index) => metrics[0]?.[index] ?? 0),
  }));
  const sum = (values: number[]) => values.reduce((one, other) => one + other, 0);
  const rank = (name: string) => (known.includes(name) ? known.indexOf(name) : known.length);
  all.sort((one, other) => rank(one.name) - rank(other.name) || sum(other.values) - sum(one.values));
  const rest = all.slice(max - 1);
  const series = rest.length > 1 ? [...all.slice(0, max - 1), { name: 'others', values: times.map((_, index) => sum(rest.map(({ values }) => values[index] ?? 0))) }] : all;
  return { times, series };
}

/** Buckets of sizes in their order, each with what it has over UDP and over TCP. */
export function sizes(of: Report): { bucket: string; udp: number; tcp: number }[] {
  const found = new Map<string, { bucket: string; udp: number; tcp: number }>();
  for (const { dimensions, metrics } of of.data) {
    const [size, tcp] = dimensions;
    // Where too much was asked at once, sizes are not told apart.
    const bucket = size || 'any';
    const row = found.get(bucket) ?? { bucket, udp: 0, tcp: 0 };
    row[tcp === '1' ? 'tcp' : 'udp'] += metrics[0] ?? 0;
    found.set(bucket, row);
  }
  const begin = (bucket: string) => (bucket === 'any' ? Number.MAX_SAFE_INTEGER : Number.parseInt(bucket, 10));
  return [...found.values()].sort((one, other) => begin(one.bucket) - begin(other.bucket));
}

/** A table for other programs (RFC 4180). What a spreadsheet would take for a formula stays a text. */
export function csv(head: string[], rows: (string | number)[][]): string {
  const cell = (value: string | number) => {
    const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';
}
