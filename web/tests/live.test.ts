import { describe, expect, it } from 'vitest';

import { Events, kept, type LiveEvent, weight } from '../src/lib/live';

describe('a stream of events', () => {
  const whole = ': quiet\n\ndata: {"a":1}\n\nevent: skipped\r\ndata: {"skipped": 7}\r\n\r\ndata: one\ndata:two\nid: 3\n\nevent: empty\n\ndata: not yet';
  const expected = [
    { event: 'message', data: '{"a":1}' },
    { event: 'skipped', data: '{"skipped": 7}' },
    { event: 'message', data: 'one\ntwo' },
  ];

  it('is the same in whatever pieces it comes', () => {
    for (let size = 1; size <= whole.length; size += 1) {
      const events = new Events();
      const found = [];
      for (let at = 0; at < whole.length; at += size) found.push(...events.feed(whole.slice(at, at + size)));
      expect(found, String(size)).toEqual(expected);
    }
  });

  it('is not kept where a line has no end', () => {
    expect(() => new Events().feed('x'.repeat(70_000))).toThrow('without an end');
  });

  it('keeps the newest', () => {
    expect(kept([2, 1], [3, 4], 3)).toEqual([4, 3, 2]);
    expect(kept([1], [2, 3, 4, 5], 2)).toEqual([5, 4]);
  });

  it('says what one looks after', () => {
    const http = (status: number | null) => weight({ kind: 'http', status } as LiveEvent);
    const dns = (code: string) => weight({ kind: 'dns', code } as LiveEvent);
    expect([http(200), http(301), http(404), http(502), http(null)]).toEqual(['good', '', 'warn', 'bad', 'warn']);
    expect([dns('NOERROR'), dns('NXDOMAIN'), dns('SERVFAIL')]).toEqual(['good', 'warn', 'bad']);
  });
});
