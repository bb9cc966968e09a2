// The official SDK for JavaScript against an edge: the same round trip as sdk_round_trip.py makes.
//
//   node sdk_round_trip.mjs SDK ACCOUNT_ID      with CLOUDFLARE_BASE_URL and credentials in the environment

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [sdk, account] = process.argv.slice(2);
const Cloudflare = createRequire(import.meta.url)(sdk);
const client = new Cloudflare({ maxRetries: 0 });

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.status, error.errors[0].code], [status, code]);
    return true;
  });
}

assert.deepEqual((await all(client.accounts.list())).map((one) => one.id), [account]);
assert.ok((await client.user.get()).id);
assert.ok((await client.ips.list()).ipv4_cidrs.length);

const zone = await client.zones.create({ account: { id: account }, name: 'js.example', type: 'full' });
const zone_id = zone.id;
assert.deepEqual([zone.name, zone.status], ['js.example', 'active']);
assert.deepEqual((await all(client.zones.list({ name: 'js.example' }))).map((one) => one.id), [zone_id]);
await refused(() => client.zones.create({ account: { id: account }, name: 'js.example' }), 400, 1061);
assert.equal((await client.zones.settings.get('ssl', { zone_id })).id, 'ssl');
assert.equal((await client.zones.settings.edit('ssl', { zone_id, value: 'full' })).value, 'full');

const made = [];
for (const body of [
  { type: 'A', name: 'www.js.example', content: '192.0.2.1' },
  { type: 'AAAA', name: 'www.js.example', content: '2001:DB8::1' },
  { type: 'TXT', name: '@', content: '"v=spf1 -all"' },
  { type: 'MX', name: '@', content: 'mail.js.example', priority: 10 },
  { type: 'SRV', name: '_sip._tcp', data: { priority: 1, weight: 2, port: 5060, target: 'sip.js.example' } },
  { type: 'CAA', name: '@', data: { flags: 0, tag: 'issue', value: 'ca.example' } },
]) {
  made.push(await client.dns.records.create({ zone_id, ttl: 1, ...body }));
}
assert.equal(made[1].content, '2001:db8::1');
const listed = await all(client.dns.records.list({ zone_id, per_page: 5 }));
assert.equal(listed.length, made.length);
const [first] = made;
const named = await all(client.dns.records.list({ zone_id, type: 'A', name: { exact: 'www.js.example' } }));
assert.deepEqual(named.map((one) => one.id), [first.id]);
const edited = { zone_id, type: 'A', name: 'www', content: '192.0.2.2', ttl: 300 };
assert.equal((await client.dns.records.edit(first.id, edited)).ttl, 300);
assert.equal((await client.dns.records.update(first.id, { ...edited, ttl: 1 })).ttl, 1);
await refused(() => client.dns.records.create({ ...edited, ttl: 1 }), 400, 81058);
for (const one of made) assert.equal((await client.dns.records.delete(one.id, { zone_id })).id, one.id);
await refused(() => client.dns.records.get(first.id, { zone_id }), 404, 81044);

const tunnels = client.zeroTrust.tunnels.cloudflared;
const tunnel = await tunnels.create({ account_id: account, name: 'js', config_src: 'cloudflare' });
assert.deepEqual((await all(tunnels.list({ account_id: account, name: 'js' }))).map((one) => one.id), [tunnel.id]);
assert.ok(await tunnels.token.get(tunnel.id, { account_id: account }));
await tunnels.delete(tunnel.id, { account_id: account });
await client.zones.delete({ zone_id });
console.log('round trip done');
