import { describe, expect, it } from 'vitest';

import type { Report } from '../src/lib/analytics';
import { numbers, path } from '../src/lib/apps';

describe('what was counted of applications', () => {
  it('is put together by application', () => {
    const data = [
      { dimensions: ['a', 'connect'], metrics: [3, 0, 0] },
      { dimensions: ['a', 'progress'], metrics: [5, 100, 2_000] },
      { dimensions: ['a', 'disconnect'], metrics: [2, 20, null] },
      { dimensions: ['a', 'originError'], metrics: [1, 0, 0] },
      { dimensions: ['b', 'clientFiltered'], metrics: [7, 0, 0] },
    ];
    const all = numbers({ data } as Report);
    expect(all.get('a')).toEqual({ came: 3, refused: 0, failed: 1, received: 120, sent: 2_000 });
    expect(all.get('b')).toEqual({ came: 0, refused: 7, failed: 0, received: 0, sent: 0 });
    expect(all.get('c')).toBeUndefined();
    expect(path('z', Date.parse('2026-12-02T00:00:00.5Z'))).toContain('since=2026-12-01T00%3A00%3A00Z');
  });
});
