// What is asked of the statistics of HTTP of a zone. Their grammar is that of DNS.

import { type ByTime, inTurn, type Question, type Report, value } from './analytics';
import { get, withQuery } from './api';

/** What the whole page is about, by the dimensions of the API. It stands in its address. */
export interface HttpView {
  range: string;
  since?: string;
  until?: string;
  host?: string;
  statusClass?: string;
  status?: string;
  method?: string;
  country?: string;
  answeredBy?: string;
}

/** By what the page is filtered, and how it is said. */
export const FILTERS: [Exclude<keyof HttpView, 'range' | 'since' | 'until'>, string][] = [
  ['host', 'host'],
  ['statusClass', 'status'],
  ['status', 'status'],
  ['method', 'method'],
  ['country', 'country'],
  ['answeredBy', 'answered by'],
];

export const CLASSES = ['2xx', '3xx', '4xx', '5xx', '1xx', 'none'];

/** Who answers, in words. What is none of these is the stage of the edge with that name. */
export const ANSWERERS: Record<string, string> = {
  origin: 'the origin',
  tunnel: 'a tunnel',
  unreached: 'the edge: the origin gave no answer',
  edge: 'the edge',
  firewall: 'the firewall',
  scheme: 'the edge: over HTTPS instead',
  tls: 'the edge: its rules of TLS',
  client: 'the edge: no certificate of the client',
};

export function filters(view: HttpView, also: string[] = []): string | undefined {
  const all = [...FILTERS.flatMap(([name]) => (view[name] ? [`${name}==${value(view[name])}`] : [])), ...also];
  return all.length > 0 ? all.join(';') : undefined;
}

interface Times {
  since: string;
  until: string;
}

export function path(zone: string, view: HttpView, { since, until }: Times, question: Question): string {
  const { metrics = 'requestCount', dimensions, sort, limit, also } = question;
  return withQuery(`/bartizan/zones/${zone}/http_analytics/report`, { metrics, dimensions, sort, limit, filters: filters(view, also), since, until });
}

export const report = (zone: string, view: HttpView, times: Times, question: Question): Promise<Report> =>
  inTurn(() => get<Report>(path(zone, view, times, question)));

export function bytime(zone: string, view: HttpView, times: Times & { delta: string }, dimensions: string): Promise<ByTime> {
  const { since, until, delta } = times;
  const asked = withQuery(`/bartizan/zones/${zone}/http_analytics/report/bytime`, {
    metrics: 'requestCount', dimensions, filters: filters(view), since, until, time_delta: delta,
  });
  return inTurn(() => get<ByTime>(asked));
}

const COUNTRIES = new Intl.DisplayNames('en', { type: 'region', fallback: 'code' });

/** A country as people call it. */
export const country = (code: string): string => (/^[A-Z]{2}$/.test(code) && code !== 'XX' ? (COUNTRIES.of(code) ?? code) : 'unknown');
