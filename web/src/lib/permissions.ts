// Permission groups of the API, as a person picks from them: a row each, with none, read or write.

export interface Group {
  id: string;
  name: string;
  scopes: string[];
}

export interface Row {
  name: string;
  scope: string;
  read?: Group;
  write?: Group;
}

export type Level = '' | 'read' | 'write';

export interface Policy {
  id?: string;
  effect: string;
  permission_groups: { id: string; name?: string }[];
  resources: Record<string, unknown>;
}

export const SCOPES: Record<string, string> = {
  'com.cloudflare.api.account.zone': 'Zones',
  'com.cloudflare.api.account': 'Account and edge',
  'com.cloudflare.api.user': 'You',
};

/** `DNS Read` and `DNS Write` are one row. */
export function rows(groups: Group[]): Row[] {
  const found = new Map<string, Row>();
  for (const group of groups) {
    const level = group.name.endsWith(' Write') ? 'write' : 'read';
    const name = group.name.replace(/ (Read|Write)$/, '');
    const scope = group.scopes[0] ?? '';
    const row = found.get(scope + name) ?? { name, scope };
    row[level] = group;
    found.set(scope + name, row);
  }
  return [...found.values()].sort((one, other) => one.name.localeCompare(other.name));
}

/** What is chosen, as policies: one for each kind of what it is held over. */
export function policies(all: Row[], chosen: Record<string, Level>, over: { zones: string[]; account: string; user: string }): Policy[] {
  const resources: Record<string, Record<string, string>> = {
    'com.cloudflare.api.account.zone':
      over.zones.length === 0
        ? { 'com.cloudflare.api.account.zone.*': '*' }
        : Object.fromEntries(over.zones.map((zone) => [`com.cloudflare.api.account.zone.${zone}`, '*'])),
    'com.cloudflare.api.account': { [`com.cloudflare.api.account.${over.account}`]: '*' },
    'com.cloudflare.api.user': { [`com.cloudflare.api.user.${over.user}`]: '*' },
  };
  return Object.entries(resources).flatMap(([scope, resources]) => {
    const groups = all
      .filter((row) => row.scope === scope)
      .map((row) => ({ '': undefined, read: row.read, write: row.write ?? row.read })[chosen[key(row)] ?? ''])
      .filter((group) => group !== undefined);
    return groups.length > 0 ? [{ effect: 'allow', permission_groups: groups.map(({ id, name }) => ({ id, name })), resources }] : [];
  });
}

export const key = (row: Row): string => `${row.scope}/${row.name}`;

/** What is chosen, as the command spells it: `dns`, `zone-settings:read`. */
export function spelled(all: Row[], chosen: Record<string, Level>): string[] {
  return all.flatMap((row) => {
    const level = chosen[key(row)] ?? '';
    if (level === '') return [];
    const name = row.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '');
    return [level === 'write' && row.write ? name : `${name}:read`];
  });
}

/** What a token may do, in a line. */
export function may(policies: Policy[]): string {
  const names = policies.flatMap((policy) => policy.permission_groups.map(({ name, id }) => name ?? id));
  if (names.length > 20) return `nearly everything (${names.length} permissions)`;
  return names.join(', ');
}

const ZONE = 'com.cloudflare.api.account.zone.';

/** The ids of zones that policies name. */
export function zonesOf(policies: Policy[]): string[] {
  const ids = policies.flatMap(({ resources }) => Object.keys(resources)).filter((name) => name.startsWith(ZONE));
  return [...new Set(ids.map((name) => name.slice(ZONE.length)).filter((id) => id !== '*'))];
}

const NAMED_MAX = 5;

/** In which zones a token may do what it may, where these are not all: a line for each of its policies. */
export function reach(policies: Policy[], nameOf: (zone: string) => string | undefined): string[] {
  const lines = policies.flatMap((policy) => {
    const zones = zonesOf([policy]);
    if (zones.length === 0) return [];
    const named = zones.slice(0, NAMED_MAX).map((zone) => nameOf(zone) ?? zone).join(', ');
    const rest = zones.length > NAMED_MAX ? ` and ${zones.length - NAMED_MAX} more` : '';
    const word = policy.effect === 'deny' ? 'not on' : 'on';
    return [`${word} ${zones.length === 1 ? 'zone' : 'zones'} ${named}${rest}`];
  });
  return [...new Set(lines)];
}
