import { describe, expect, it } from 'vitest';

import { filters, path } from '../src/lib/http';
import { bytes } from '../src/lib/words';

describe('statistics of HTTP', () => {
  it('are filtered by all that the page is about', () => {
    const view = { range: '6h', host: 'a,b.example.com', statusClass: '4xx', answeredBy: 'origin' };
    expect(filters(view, ['method==GET'])).toBe('host==a\\,b.example.com;statusClass==4xx;answeredBy==origin;method==GET');
    expect(filters({ range: '6h' })).toBeUndefined();
    expect(path('z', { range: '6h' }, { since: 's', until: 'u' }, { dimensions: 'host' })).toBe(
      '/bartizan/zones/z/http_analytics/report?metrics=requestCount&dimensions=host&since=s&until=u',
    );
  });

  it('says octets by their size', () => {
    expect([0, 999, 1_000, 1_550, 99_960, 999_600, 12_345_678, 5e16].map(bytes)).toEqual(['0 B', '999 B', '1 kB', '1.6 kB', '100 kB', '1 MB', '12.3 MB', '50 PB']);
  });
});
