// Lists that are wanted to their end: what is chosen from, and what has no pages of its own.

import { call, type Envelope, get, withQuery } from './api';
import type { DnsRecord } from './records';
import type { Zone } from './zone.svelte';

export interface Listed<T> {
  items: T[];
  /** How many more there are at least: they were not asked for, or not told. */
  left: number;
  /** What the edge says of the list. */
  notes: string[];
}

/** The most that every list of the API gives at once. */
const PER_PAGE = 50;

/** More than these are not read for one page of the dashboard: 2,000 objects. */
const PAGES_MAX = 40;

type Ask = <T>(path: string) => Promise<Envelope<T>>;
const ask: Ask = (path) => call('GET', path);

/** A list page by page, to its end. What moves from one page to the next meanwhile is there once. */
export async function everything<T extends { id: string }>(path: string, asked: Ask = ask): Promise<Listed<T>> {
  const found = new Map<string, T>();
  const notes = new Set<string>();
  for (let page = 1; ; page += 1) {
    const paged = `${path}${path.includes('?') ? '&' : '?'}page=${page}&per_page=${PER_PAGE}`;
    const { result, result_info: info, messages } = await asked<T[]>(paged);
    for (const one of result) found.set(one.id, one);
    for (const note of said(messages)) notes.add(note);
    const isLast = !info || result.length === 0 || page >= info.total_pages;
    if (!isLast && page < PAGES_MAX) continue;
    return { items: [...found.values()], left: isLast ? 0 : Math.max(info.total_count - found.size, 1), notes: [...notes] };
  }
}

const RECORDS_PIECE = 500;
const RECORDS_MAX = 2_000;

export type TunnelRecord = DnsRecord & { zone_id: string };

/** The records of all zones that lead to a tunnel. The edge counts them in pieces, each of which begins behind the last one. */
export async function leading(tunnel: string, asked: Ask = ask): Promise<Listed<TunnelRecord>> {
  const items: TunnelRecord[] = [];
  const notes = new Set<string>();
  for (let after: string | undefined; ; ) {
    const { result, messages } = await asked<TunnelRecord[]>(withQuery(`/bartizan/tunnels/${tunnel}/records`, { limit: RECORDS_PIECE, after }));
    items.push(...result);
    for (const note of said(messages)) notes.add(note);
    const last = result.at(-1);
    if (!last || result.length < RECORDS_PIECE) return { items, left: 0, notes: [...notes] };
    if (items.length >= RECORDS_MAX) return { items, left: 1, notes: [...notes] };
    after = `${last.zone_id}/${last.id}`;
  }
}

const said = (messages: Envelope<unknown>['messages'] | undefined): string[] =>
  (messages ?? []).flatMap(({ message }) => (message ? [message] : []));

export const ZONES_SHOWN = 20;

/** Zones with a part of a name in theirs: the first by name, and how many more there are. */
export async function zonesWith(part: string, account?: string, asked: Ask = ask): Promise<Listed<Zone>> {
  const text = part.trim().toLowerCase();
  const path = withQuery('/zones', {
    'account.id': account, name: text === '' ? undefined : `contains:${text}`, order: 'name', per_page: ZONES_SHOWN,
  });
  const { result, result_info: info, messages } = await asked<Zone[]>(path);
  return { items: result, left: Math.max((info?.total_count ?? result.length) - result.length, 0), notes: said(messages) };
}

/** Labels of a name that are looked at as a zone, from the end. */
const LABELS_MAX = 8;

/** Names of the zones in which a host may be, the nearest first. */
export function homes(host: string): string[] {
  const labels = host.trim().toLowerCase().replace(/\.$/, '').split('.');
  if (labels.some((label) => label === '')) return [];
  return labels.map((_, at) => labels.slice(at).join('.')).slice(-LABELS_MAX);
}

/** The zone in which a host is, if it is in one. */
export async function zoneOf(host: string, account?: string, asked: <T>(path: string) => Promise<T> = get): Promise<Zone | undefined> {
  for (const name of homes(host)) {
    const [zone] = await asked<Zone[]>(withQuery('/zones', { 'account.id': account, name }));
    if (zone) return zone;
  }
  return undefined;
}
