// Access rules as the API has them.

export interface Rule {
  id: string;
  mode: string;
  notes: string;
  configuration: { target: string; value: string };
  scope: { type: string; name?: string };
  modified_on: string;
}

export const VERDICTS: Record<string, string> = {
  block: 'Block',
  whitelist: 'Allow',
  challenge: 'Challenge',
  js_challenge: 'JavaScript challenge',
  managed_challenge: 'Managed challenge',
};

/** What somebody names: an address, a prefix, a network or a country. */
export function target(text: string): string {
  const value = text.trim();
  if (/^(as)?\d+$/i.test(value) && !value.includes('.')) return 'asn';
  if (/^[a-z][a-z0-9]$/i.test(value)) return 'country';
  return value.includes('/') ? 'ip_range' : 'ip';
}

/** It in the spelling of the API. */
export function source(text: string): string {
  const value = text.trim();
  if (target(value) === 'asn') return `AS${value.replace(/^as/i, '')}`;
  return target(value) === 'country' ? value.toUpperCase() : value;
}
