// What was counted of applications.

import { inTurn, type Report } from './analytics';
import { get, withQuery } from './api';

export interface Numbers {
  /** Connections and flows that were let in. */
  came: number;
  /** Those that an access rule refused, and those whose origin was not reached. */
  refused: number;
  failed: number;
  received: number;
  sent: number;
}

/** How far back the page looks. */
const SPAN_MS = 24 * 3_600_000;

export const path = (zone: string, now = Date.now()): string =>
  withQuery(`/zones/${zone}/spectrum/analytics/events/summary`, {
    metrics: 'count,bytesIngress,bytesEgress', dimensions: 'appID,event', since: new Date(now - SPAN_MS).toISOString().replace(/\.\d+Z/, 'Z'),
  });

export const report = (zone: string): Promise<Report> => inTurn(() => get<Report>(path(zone)));

/** By application. Octets are told with each event that brings some. */
export function numbers(of: Report): Map<string, Numbers> {
  const found = new Map<string, Numbers>();
  for (const { dimensions, metrics } of of.data) {
    const [app = '', event] = dimensions;
    const [count, received, sent] = metrics.map((metric) => metric ?? 0);
    const one = found.get(app) ?? { came: 0, refused: 0, failed: 0, received: 0, sent: 0 };
    if (event === 'connect') one.came += count ?? 0;
    else if (event === 'clientFiltered') one.refused += count ?? 0;
    else if (event === 'originError') one.failed += count ?? 0;
    one.received += received ?? 0;
    one.sent += sent ?? 0;
    found.set(app, one);
  }
  return found;
}
