import { describe, expect, it } from 'vitest';

import { type Authority, believed, type ClientHost, names, wish } from '../src/lib/clients';
import { key, type Row, spelled } from '../src/lib/permissions';

const host = (hostname: string, more: Partial<ClientHost> = {}): ClientHost => ({
  hostname, mode: 'report', authorities: [], managed: false, headers: [], client_certificate_forwarding: false, ...more,
});

describe('hosts that ask for a certificate', () => {
  it('believe the zone’s own authority before they ask', () => {
    const associations = '/zones/z/certificate_authorities/hostname_associations';
    const one = '/bartizan/zones/z/client_hosts/iot.example.com';
    const wanted = { hostname: 'iot.example.com', mode: 'enforce', own: true };
    // A new one is made by that, and is changed then; those that believe it already go on.
    expect(wish('z', undefined, ['a.example.com'], wanted)).toEqual([
      { method: 'PUT', path: associations, body: { hostnames: ['a.example.com', 'iot.example.com'] } },
      { method: 'PATCH', path: one, body: { mode: 'enforce' } },
    ]);
    // What believes it already is not said to again, and nothing else of it is lost.
    expect(wish('z', host('iot.example.com'), ['iot.example.com'], wanted)).toEqual([{ method: 'PATCH', path: one, body: { mode: 'enforce' } }]);
    expect(wish('z', host('iot.example.com'), ['iot.example.com', 'b'], { ...wanted, own: false })).toEqual([
      { method: 'PUT', path: associations, body: { hostnames: ['b'] } },
      { method: 'PATCH', path: one, body: { mode: 'enforce' } },
    ]);
    // A new one that believes nobody is made by its mode.
    expect(wish('z', undefined, [], { hostname: '*.example.com', mode: 'report', own: false })).toEqual([
      { method: 'PUT', path: '/bartizan/zones/z/client_hosts/*.example.com', body: { mode: 'report' } },
    ]);
  });

  it('say whom they believe', () => {
    const all = [{ id: 'x', name: 'Devices' } as Authority];
    expect(believed(host('a', { managed: true, authorities: ['x', 'y'] }), all)).toBe('the zone’s own, Devices, y');
    expect(believed(host('a'), all)).toBe('nobody');
    expect(names(' A.example.com, b.example.com  a.example.com ')).toEqual(['a.example.com', 'b.example.com']);
  });
});

describe('what a token may do', () => {
  it('is spelled as the command wants it', () => {
    const scope = 'com.cloudflare.api.account.zone';
    const row = (name: string, levels = ['read', 'write']): Row => ({ name, scope, ...Object.fromEntries(levels.map((level) => [level, { id: level, name, scopes: [scope] }])) });
    const all = [row('DNS'), row('Zone Settings'), row('Access: Mutual TLS Certificates'), row('Analytics', ['read']), row('Zone')];
    const chosen = { [key(row('DNS'))]: 'write', [key(row('Zone Settings'))]: 'read', [key(row('Access: Mutual TLS Certificates'))]: 'write', [key(row('Analytics'))]: 'write' } as const;
    expect(spelled(all, chosen)).toEqual(['dns', 'zone-settings:read', 'access-mutual-tls-certificates', 'analytics:read']);
  });
});
