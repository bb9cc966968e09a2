import { expect, test } from 'vitest';

import { ApiError, type Envelope } from '../src/lib/api';
import { address, listening } from '../src/lib/edge';
import { everything, homes, leading, zoneOf, zonesWith } from '../src/lib/lists';
import { reach, zonesOf } from '../src/lib/permissions';
import { type Health, healths } from '../src/lib/pools';
import { isNobody } from '../src/lib/session.svelte';
import { parts } from '../src/lib/words';

const objects = (count: number) => Array.from({ length: count }, (_, at) => ({ id: String(at), zone_id: 'z' }));

/** A list of the API with as many objects, and what it was asked. */
function list(count: number) {
  const asked: URLSearchParams[] = [];
  const ask = async <T>(path: string): Promise<Envelope<T>> => {
    const query = new URL(path, 'http://e').searchParams;
    asked.push(query);
    const [page, size] = [Number(query.get('page') ?? 1), Number(query.get('per_page'))];
    const result = objects(count).slice((page - 1) * size, page * size);
    const result_info = { page, per_page: size, count: result.length, total_count: count, total_pages: Math.ceil(count / size) };
    return { result: result as T, success: true, errors: [], messages: [{ message: 'one is damaged' }], result_info };
  };
  return { ask, asked };
}

test.each([
  [0, 1, 0],
  [50, 1, 0],
  [51, 2, 0],
  [302, 7, 0],
  [2_000, 40, 0],
  [2_010, 40, 10],
])('a list of %i to its end', async (count, pages, left) => {
  const { ask, asked } = list(count);
  const found = await everything<{ id: string }>('/x?a=b', ask);
  expect([found.items.length, asked.length, found.left]).toEqual([count - left, pages, left]);
  expect(found.notes).toEqual(['one is damaged']);
  expect(asked[0]?.get('a')).toBe('b');
});

test('a list that cannot be read to its end is no list', async () => {
  const { ask } = list(120);
  const refused = <T>(path: string): Promise<Envelope<T>> => (path.includes('page=2') ? Promise.reject(new ApiError(500, [])) : ask<T>(path));
  await expect(everything('/x', refused)).rejects.toThrow('500');
});

test('what moves while it is read is there once', async () => {
  const { ask } = list(60);
  const moved = async <T>(path: string): Promise<Envelope<T>> => {
    const answer = await ask<T>(path);
    return path.includes('page=2') ? { ...answer, result: [{ id: '49' }, ...(answer.result as object[])] as T } : answer;
  };
  expect((await everything<{ id: string }>('/x', moved)).items.map(({ id }) => id)).toEqual(objects(60).map(({ id }) => id));
});

test.each([
  [0, [null], 0],
  [499, [null], 0],
  [500, [null, 'z/499'], 0],
  [1_200, [null, 'z/499', 'z/999'], 0],
  [3_000, [null, 'z/499', 'z/999', 'z/1499'], 1],
])('the %i names of a tunnel, piece by piece', async (count, places, left) => {
  const asked: (string | null)[] = [];
  const found = await leading('t', async <T>(path: string) => {
    const query = new URL(path, 'http://e').searchParams;
    asked.push(query.get('after'));
    const from = query.get('after') === null ? 0 : Number(query.get('after')?.split('/')[1]) + 1;
    return { result: objects(count).slice(from, from + Number(query.get('limit'))) as T, success: true, errors: [], messages: [] };
  });
  expect(asked).toEqual(places);
  expect([found.items.length, found.left]).toEqual([Math.min(count, 2_000), left]);
});

test('zones are searched by the edge', async () => {
  const { ask, asked } = list(302);
  const found = await zonesWith(' Z9 ', 'account', ask);
  expect([found.items.length, found.left]).toEqual([20, 282]);
  expect([asked[0]?.get('name'), asked[0]?.get('account.id')]).toEqual(['contains:z9', 'account']);
  await zonesWith('', undefined, ask);
  expect([asked[1]?.has('name'), asked[1]?.has('account.id')]).toEqual([false, false]);
});

test('the zone of a host is the nearest one', async () => {
  expect(homes('A.b.example.')).toEqual(['a.b.example', 'b.example', 'example']);
  expect([homes(''), homes('a..b'), homes('.')]).toEqual([[], [], []]);
  expect(homes('1.2.3.4.5.6.7.8.9.10')[0]).toBe('3.4.5.6.7.8.9.10');
  const zones = ['b.example', 'example'];
  const ask = async <T>(path: string) => zones.filter((name) => new URL(path, 'http://e').searchParams.get('name') === name).map((name) => ({ name })) as T;
  expect((await zoneOf('a.b.example', undefined, ask))?.name).toBe('b.example');
  expect((await zoneOf('x.example', undefined, ask))?.name).toBe('example');
  expect(await zoneOf('app', undefined, ask)).toBeUndefined();
  await expect(zoneOf('app', undefined, () => Promise.reject(new ApiError(500, [])))).rejects.toThrow();
});

test('where visitors find a name', () => {
  const doors = { http: ['127.0.0.1:8080'], https: ['[::1]:8443'] };
  expect(address(undefined, 'e')).toBe('https://e/');
  expect(address(doors, 'e')).toBe('https://e:8443/');
  expect(address({ ...doors, public_https: 443 }, 'e')).toBe('https://e/');
  expect(address({ ...doors, public_https: 4443 }, 'e')).toBe('https://e:4443/');
  expect(address({ ...doors, https: ['0.0.0.0:443'], public_https: null }, 'e')).toBe('https://e/');
  expect(address({ http: ['127.0.0.1:8080'], https: [] }, 'e')).toBe('http://e:8080/');
  expect(address({ http: ['127.0.0.1:8080'], https: [], public_http: 80 }, 'e')).toBe('http://e/');
  expect(listening(['a:1', 'b:2'], 443)).toBe('a:1, b:2; visitors come by port 443');
  expect([listening(['a:1']), listening(['a:1'], null), listening([], 443)]).toEqual(['a:1', 'a:1', 'nowhere']);
});

test('in which zones a token may do what it may', () => {
  const zone = (...ids: string[]) => ({
    effect: 'allow', permission_groups: [], resources: Object.fromEntries(ids.map((id) => [`com.cloudflare.api.account.zone.${id}`, '*'])),
  });
  const account = { effect: 'allow', permission_groups: [], resources: { 'com.cloudflare.api.account.a': '*' } };
  const nameOf = (id: string) => ({ a: 'a.example', b: 'b.example' })[id];
  expect(zonesOf([zone('a', 'b'), zone('a'), zone('*'), account])).toEqual(['a', 'b']);
  expect(reach([zone('*'), account], nameOf)).toEqual([]);
  expect(reach([zone('a'), zone('a')], nameOf)).toEqual(['on zone a.example']);
  expect(reach([zone('a', 'b', 'c'), { ...zone('a'), effect: 'deny' }], nameOf)).toEqual(['on zones a.example, b.example, c', 'not on zone a.example']);
  expect(reach([zone('1', '2', '3', '4', '5', '6', '7')], nameOf)).toEqual(['on zones 1, 2, 3, 4, 5 and 2 more']);
});

test('how pools are, and that it is not known', async () => {
  const ask = async (path: string): Promise<Health> => {
    if (path.includes('/bad/')) throw new ApiError(500, [{ code: 1, message: 'no memory' }]);
    if (path.includes('/gone/')) throw new ApiError(404, []);
    return { pop_health: {} };
  };
  const ids = Array.from({ length: 20 }, (_, at) => `p${at}`);
  expect(Object.keys((await healths('/b', ids, ask)).of).sort()).toEqual([...ids].sort());
  const { of, fault } = await healths('/b', ['a', 'bad', 'gone'], ask);
  expect([Object.keys(of), fault]).toEqual([['a'], 'It is not known how all pools are: no memory']);
  expect((await healths('/b', ['gone'], ask)).fault).toBeUndefined();
});

test('nobody is logged in only where the edge says so', () => {
  const error = (status: number, code: number) => new ApiError(status, [{ code, message: '' }]);
  expect([error(400, 9106), error(403, 9109)].map(isNobody)).toEqual([true, true]);
  expect([error(0, 0), error(500, 10_000), error(503, 10_505), error(429, 10_000)].map(isNobody)).toEqual([false, false, false, false]);
});

test('commands in what the edge says', () => {
  expect(parts('there, `bartizan dnssec ds ZONE --put` does', 'e.example')).toEqual([
    { text: 'there, ', isCode: false },
    { text: 'bartizan dnssec ds e.example --put', isCode: true },
    { text: ' does', isCode: false },
  ]);
  expect(parts('nothing in the ZONE', 'x')).toEqual([{ text: 'nothing in the ZONE', isCode: false }]);
});
