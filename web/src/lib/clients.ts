// Clients that are known by a certificate, as the API has them.

import type { Method } from './api';

export interface Authority {
  id: string;
  name: string;
  associated_hostnames: string[];
  fingerprint: string;
  expires_on: string;
  bartizan: {
    issuer: string;
    crl: { count: number; issued_on: string; next_on: string | null } | null;
    crl_source: { url: string; state: string; failing_since: string | null; last_error: string | null } | null;
  };
}

export interface ClientHost {
  hostname: string;
  mode: string;
  authorities: string[];
  managed: boolean;
  headers: { name: string; value: string }[];
  client_certificate_forwarding: boolean;
}

export interface Issued {
  id: string;
  certificate: string;
  common_name: string;
  serial_number: string;
  status: string;
  issued_on: string;
  expires_on: string;
}

export const MODES: [string, string][] = [
  ['off', 'Off: nobody is asked'],
  ['report', 'Report: all go on, the origin is told'],
  ['enforce', 'Enforce: who is not known gets 403'],
];

/** Names of hosts as somebody types them, in a row. */
export const names = (text: string): string[] => [...new Set(text.toLowerCase().split(/[\s,]+/).filter((name) => name !== ''))];

/** Whom a host believes, in words. */
export function believed(host: ClientHost, authorities: Authority[]): string {
  const named = host.authorities.map((id) => authorities.find((one) => one.id === id)?.name ?? id);
  return [...(host.managed ? ['the zone’s own'] : []), ...named].join(', ') || 'nobody';
}

export interface Wish {
  method: Method;
  path: string;
  body: unknown;
}

/** The calls by which a host gets a mode, and believes the zone's own authority or not. It believes first: asked before, it would let nobody in. `owned` are all hosts that believe that authority now. */
export function wish(zone: string, host: ClientHost | undefined, owned: string[], wanted: { hostname: string; mode: string; own: boolean }): Wish[] {
  const { hostname, mode, own } = wanted;
  const one = `/bartizan/zones/${zone}/client_hosts/${encodeURIComponent(hostname)}`;
  const calls: Wish[] = [];
  if (owned.includes(hostname) !== own) {
    const hostnames = own ? [...owned, hostname] : owned.filter((other) => other !== hostname);
    calls.push({ method: 'PUT', path: `/zones/${zone}/certificate_authorities/hostname_associations`, body: { hostnames } });
  }
  // What is there keeps all else that was said of it.
  calls.push({ method: host || own ? 'PATCH' : 'PUT', path: one, body: { mode } });
  return calls;
}
