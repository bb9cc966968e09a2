import { expect, test } from 'vitest';

import { asked, csv, filters, inTurn, lines, piece, sizes, span, sums, unaskable } from '../src/lib/analytics';
import { ApiError, withQuery } from '../src/lib/api';
import { type Change, said, steps } from '../src/lib/history';
import { absolute, body, draft, empty, faults, outcome, relative, type RecordDraft } from '../src/lib/records';
import { link, match, parse } from '../src/lib/router.svelte';
import { command, curl, word } from '../src/lib/terminal';
import { ago, plural, short, ttl } from '../src/lib/words';

test.each([
  ['plain', 'plain'],
  ['a b', "'a b'"],
  ["it's", `'it'\\''s'`],
  ['$(rm -rf x)', "'$(rm -rf x)'"],
  ['', "''"],
  ['*', "'*'"],
])('a word for a shell: %s', (text, expected) => expect(word(text)).toBe(expected));

test('calls and commands that can be pasted', () => {
  const call = { method: 'POST' as const, path: '/zones', body: { name: "it's" } };
  expect(curl(call, 'http://127.0.0.1:8787')).toBe(
    `curl -X POST http://127.0.0.1:8787/client/v4/zones \\\n  -H "Authorization: Bearer $TOKEN" \\\n  -H 'Content-Type: application/json' \\\n  -d '{"name":"it'\\''s"}'`,
  );
  expect(curl({ method: 'GET', path: '/zones?name=a&page=2' }, 'https://e')).toContain("'https://e/client/v4/zones?name=a&page=2'");
  expect(command('record', 'create', 'x', 'TXT', 'v=spf1 -all', false, undefined)).toBe("bartizan record create x TXT 'v=spf1 -all'");
});

test('places in the dashboard', () => {
  expect(parse('#/zones/1?q=a%26b&page=2')).toEqual({ path: '/zones/1', query: { q: 'a&b', page: '2' } });
  expect(parse('')).toEqual({ path: '/', query: {} });
  expect(parse('#javascript:alert(1)')).toEqual({ path: '/', query: {} });
  expect(link('/zones', { q: 'a&b', page: undefined })).toBe('#/zones?q=a%26b');
  expect(match('/zones/:id/records', '/zones/abc/records')).toEqual({ id: 'abc' });
  expect(match('/zones/:id/records', '/zones//records')).toBeUndefined();
  expect(match('/zones/:id', '/zones/%zz')).toBeUndefined();
  expect(match('/zones', '/zones/1')).toBeUndefined();
});

test('what is left out of a query', () => {
  expect(withQuery('/a', { b: '', c: undefined, d: 0, e: 'x y' })).toBe('/a?d=0&e=x%20y');
  expect(withQuery('/a', {})).toBe('/a');
});

test('which field a refusal is about', () => {
  const error = new ApiError(400, [
    { code: 1, message: 'no name', source: { pointer: '/name' } },
    { code: 2, message: 'too many' },
  ]);
  expect(error.at('/name')).toBe('no name');
  expect(error.at('/content')).toBeUndefined();
  expect(error.beside(['/name'])).toBe('too many');
  expect(error.beside([])).toBe('no name; too many');
});

test.each([
  ['@', 'example.com', 'example.com'],
  ['', 'example.com', 'example.com'],
  ['www', 'example.com', 'www.example.com'],
  ['www.example.com.', 'example.com', 'www.example.com'],
  ['example.com', 'example.com', 'example.com'],
  ['notexample.com', 'example.com', 'notexample.com.example.com'],
])('the name %s in %s', (name, zone, expected) => {
  expect(absolute(name, zone)).toBe(expected);
  expect(absolute(relative(expected, zone), zone)).toBe(expected);
});

const drafted = (given: Partial<RecordDraft>): RecordDraft => ({ ...empty(), ...given });

test.each([
  [{ type: 'A', content: '192.0.2.1' }, {}],
  [{ type: 'A', content: '192.0.2.256' }, { '/content': 'four numbers' }],
  [{ type: 'A', content: '2001:db8::1' }, { '/content': 'type AAAA' }],
  [{ type: 'AAAA', content: '192.0.2.1' }, { '/content': 'type A' }],
  [{ type: 'CNAME', content: '192.0.2.1' }, { '/content': 'type A' }],
  [{ type: 'MX', content: 'mail', priority: 'ten' }, { '/priority': '65535' }],
  [{ type: 'A', name: 'a b', content: '' }, { '/name': 'spaces' }],
  [{ type: 'TXT', content: '<script>' }, {}],
])('what is plainly wrong: %j', (given, expected) => {
  const found = faults(drafted(given));
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [field, part] of Object.entries(expected)) expect(found[field]).toContain(part);
});

test('what is sent of a record', () => {
  expect(body(drafted({ name: 'www', content: ' 192.0.2.1 ', proxied: true, ttl: 300, tags: 'a:b, ,c:d' }), 'e.com')).toEqual({
    type: 'A', name: 'www.e.com', content: '192.0.2.1', ttl: 1, comment: null, tags: ['a:b', 'c:d'], proxied: true,
  });
  const mx = body(drafted({ type: 'MX', content: 'mail', priority: '5', proxied: true, ttl: 60 }), 'e.com');
  expect(mx).toMatchObject({ priority: 5 });
  expect(mx).not.toHaveProperty('proxied', true);
  const stored = { id: '1', name: 'e.com', type: 'MX', content: 'm', priority: 5, proxiable: false, proxied: false, ttl: 60, comment: null, tags: ['a:b'], modified_on: '' };
  expect(draft(stored, 'e.com')).toMatchObject({ name: '@', priority: '5', tags: 'a:b', comment: '' });
  expect(outcome(drafted({ name: 'www', content: '192.0.2.1', proxied: true }), 'e.com', ['203.0.113.1'])).toContain('203.0.113.1');
});

test('changes in words', () => {
  const change = {
    action: { type: 'add', result: true }, resource: { id: '1', type: 'record' }, metadata: { name: 'www.e.com', zone_name: 'e.com' },
    oldValueJson: { ttl: 1, content: 'a', modified_on: 'x' }, newValueJson: { type: 'A', ttl: 1, content: 'b', modified_on: 'y' },
  } as unknown as Change;
  expect(said(change)).toBe('Added A record www.e.com');
  expect(steps(change)).toEqual([
    { field: 'content', before: 'a', after: 'b' },
    { field: 'type', before: undefined, after: 'A' },
  ]);
});

test('numbers and times', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  expect(ago(now - 1_000, now)).toBe('just now');
  expect(ago(now - 90_000, now)).toBe('1 minute ago');
  expect(ago(now + 3 * 86_400_000, now)).toBe('in 3 days');
  expect(ago('nothing', now)).toBe('at an unknown time');
  expect([plural(1, 'zone'), plural(2, 'zone'), short(1_234_567)]).toEqual(['1 zone', '2 zones', '1.2M']);
  expect([ttl(1), ttl(300), ttl(3600), ttl(86_400), ttl(90)]).toEqual(['Auto', '5 minutes', '1 hour', '1 day', '90 seconds']);
});

test('questions to the statistics', () => {
  const now = Date.parse('2026-12-01T12:00:30Z');
  expect(span({ range: '6h' }, now)).toEqual({ since: '2026-12-01T06:00:30Z', until: '2026-12-01T12:00:30Z', delta: 'dekaminute' });
  expect(span({ range: 'nonsense' }, now).delta).toBe('dekaminute');
  // As finely as is kept.
  for (const [since, until, delta] of [
    ['2026-12-01T10:00:00Z', '2026-12-01T11:00:00Z', 'minute'],
    ['2026-12-01T00:00:00Z', '2026-12-01T11:00:00Z', 'dekaminute'],
    ['2026-11-20T10:00:00Z', '2026-11-20T11:00:00Z', 'hour'],
    ['2026-01-20T10:00:00Z', '2026-01-21T11:00:00Z', 'day'],
  ] as const) expect(span({ range: '6h', since, until }, now)).toEqual({ since, until, delta });
  const seconds = (text: string) => Date.parse(text) / 1_000;
  const drawn = (from: string, to: string, delta: string) => piece(seconds(from), seconds(to), delta, now);
  expect(drawn('2026-12-01T11:50:12Z', '2026-12-01T11:59:58Z', 'minute')).toEqual({ since: '2026-12-01T11:50:00Z', until: '2026-12-01T12:01:00Z' });
  expect(drawn('2026-12-01T11:59:50Z', '2026-12-01T12:00:00Z', 'minute')).toEqual({ since: '2026-12-01T11:56:00Z', until: '2026-12-01T12:01:00Z' });
  expect(drawn('2026-12-01T11:01:00Z', '2026-12-01T11:02:00Z', 'dekaminute')).toEqual({ since: '2026-12-01T11:00:00Z', until: '2026-12-01T11:10:00Z' });
  expect(drawn('2026-11-20T10:01:12Z', '2026-11-20T10:20:00Z', 'hour')).toEqual({ since: '2026-11-20T06:00:00Z', until: '2026-11-20T11:00:00Z' });
  expect(drawn('2026-01-20T10:00:00Z', '2026-02-20T10:00:00Z', 'week')).toEqual({ since: '2026-01-20T00:00:00Z', until: '2026-02-27T00:00:00Z' });
  // A value is a value.
  expect(filters({ range: '6h', name: 'a;b,c.test', code: 'NXDOMAIN' }, ['tcp==1'])).toBe('queryName==a\\;b\\,c.test;responseCode==NXDOMAIN;tcp==1');
  expect(filters({ range: '6h' })).toBeUndefined();
  expect(asked('WWW', 'a.test')).toBe('www.a.test');
  expect(asked(' www.a.test. ', 'a.test')).toBe('www.a.test');
  expect(asked('@', 'a.test')).toBe('a.test');
  expect(unaskable('a;b')).toBeUndefined();
  expect(unaskable('a b')).toContain('\\032');
});

test('answers of the statistics', () => {
  const over = {
    rows: 3, totals: {}, estimated: false, other_count: 0,
    time_intervals: [['2026-12-01T10:00:00.000000Z', '2026-12-01T10:10:00.000000Z'], ['2026-12-01T10:10:00.000000Z', '2026-12-01T10:20:00.000000Z']] as [string, string][],
    data: [{ dimensions: ['DROPPED'], metrics: [[9, null]] }, { dimensions: ['NXDOMAIN'], metrics: [[null, 2]] }, { dimensions: ['NOERROR'], metrics: [[3, 4]] }],
  };
  expect(lines(over).series).toEqual([{ name: 'NOERROR', values: [3, 4] }, { name: 'NXDOMAIN', values: [0, 2] }, { name: 'DROPPED', values: [9, 0] }]);
  expect(lines(over, 2).series.map(({ name, values }) => [name, ...values])).toEqual([['NOERROR', 3, 4], ['others', 9, 2]]);
  expect(sums(over)).toEqual([{ name: 'DROPPED', value: 9 }, { name: 'NOERROR', value: 7 }, { name: 'NXDOMAIN', value: 2 }]);
  const ways = { data: [{ dimensions: ['udp', '4'], metrics: [5] }, { dimensions: ['tcp', '4'], metrics: [1] }, { dimensions: ['udp', '6'], metrics: [2] }] };
  expect(sums(ways)).toEqual([{ name: 'udp', value: 7 }, { name: 'tcp', value: 1 }]);
  expect(sums(ways, 1)).toEqual([{ name: '4', value: 6 }, { name: '6', value: 2 }]);
  const of = { ...over, resolution: 'minute', data: [{ dimensions: ['', '0'], metrics: [1] }, { dimensions: ['512-639', '1'], metrics: [2] }, { dimensions: ['32-47', '0'], metrics: [3] }, { dimensions: ['512-639', '0'], metrics: [4] }] };
  expect(sizes(of)).toEqual([{ bucket: '32-47', udp: 3, tcp: 0 }, { bucket: '512-639', udp: 4, tcp: 2 }, { bucket: 'any', udp: 1, tcp: 0 }]);
  expect(csv(['a', 'b'], [['=1+1', 2], ['x"y', 3]])).toBe('a,b\r\n\'=1+1,2\r\n"x""y",3\r\n');
});

test('the edge is asked in turn, and again where it has its hands full', async () => {
  let [now, most, refused] = [0, 0, 0];
  const question = async (name: number) => {
    most = Math.max(most, ++now);
    await Promise.resolve();
    now -= 1;
    if (name === 3 && refused++ < 2) throw new ApiError(503, [{ code: 10505, message: 'Too many reads at once; try again' }]);
    if (name === 4) throw new ApiError(422, [{ code: 10430, message: 'not kept' }]);
    return name;
  };
  const told = await Promise.allSettled([1, 2, 3, 4, 5, 6].map((name) => inTurn(() => question(name), 0)));
  expect(told.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  expect([most, refused]).toEqual([2, 3]);
});
