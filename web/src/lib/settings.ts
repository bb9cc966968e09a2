// The settings of a zone in words, in the order and the groups in which a person looks for them. What they may be is for the API.

export interface Setting {
  id: string;
  value: unknown;
  editable: boolean;
  modified_on: string | null;
}

export interface About {
  name: string;
  says: string;
  /** The values to choose from, with what they mean; without it on and off. */
  values?: [string, string][];
  /** A number, with its unit. */
  unit?: string;
}

export const GROUPS: { name: string; settings: Record<string, About> }[] = [
  {
    name: 'HTTPS for visitors',
    settings: {
      ssl: {
        name: 'How origins are reached',
        says: 'Between this edge and your servers. Visitors have HTTPS in all cases but the last.',
        values: [
          ['flexible', 'Plain HTTP'],
          ['full', 'TLS, whatever certificate they show'],
          ['strict', 'TLS with a certificate that is checked'],
          ['off', 'No HTTPS for visitors either'],
        ],
      },
      always_use_https: { name: 'Always HTTPS', says: 'Who comes by plain HTTP is sent to the same place over HTTPS.' },
      min_tls_version: { name: 'Oldest TLS', says: 'Older handshakes are refused.', values: [['1.2', 'TLS 1.2'], ['1.3', 'TLS 1.3']] },
      tls_1_3: { name: 'TLS 1.3', says: 'The newest version: one round trip less.', values: [['on', 'On'], ['zrt', 'On, with early data'], ['off', 'Off']] },
      '0rtt': { name: 'Early data', says: 'Visitors who come back may ask in their first flight; only what changes nothing is answered so.' },
    },
  },
  {
    name: 'Protocols',
    settings: {
      http2: { name: 'HTTP/2', says: 'Many requests on one connection.' },
      http3: { name: 'HTTP/3', says: 'The same over QUIC: quicker to begin, and no stall by a lost packet.' },
      websockets: { name: 'WebSockets', says: 'Connections that stay open both ways; off, they are refused.' },
    },
  },
  {
    name: 'Origins',
    settings: {
      origin_max_http_version: { name: 'Newest HTTP to origins', says: 'What origins over TLS are offered.', values: [['1', 'HTTP/1.1'], ['2', 'HTTP/2']] },
      origin_h2c: { name: 'HTTP/2 in the clear', says: 'Origins that are spoken to without TLS speak HTTP/2: servers of gRPC.' },
      tls_client_auth: { name: 'Show a certificate to origins', says: 'Origins over TLS see that it is this edge which asks.' },
      proxy_read_timeout: { name: 'Patience with origins', says: 'How long an origin may be silent before visitors get 504.', unit: 'seconds' },
      max_upload: { name: 'Largest upload', says: 'Larger bodies get 413.', unit: 'MB' },
    },
  },
];

const TOLD = new Set(GROUPS.flatMap(({ settings }) => Object.keys(settings)));

/** What can be changed and has no words here: shown as it is. */
export const untold = (all: Setting[]): Setting[] => all.filter((one) => one.editable && !TOLD.has(one.id));
export const fixed = (all: Setting[]): Setting[] => all.filter((one) => !one.editable);
