// What happens in a zone, as it happens: the edge's stream of events (server-sent events, WHATWG HTML §9.2).

export interface DnsEvent {
  kind: 'dns';
  time: string;
  name: string;
  type: string;
  code: string;
  transport: string;
  client: string;
  query_size: number;
  answer_size: number;
  ms: number;
}

export interface HttpEvent {
  kind: 'http';
  time: string;
  host: string;
  method: string;
  path: string;
  status: number | null;
  protocol: string;
  client: string;
  country: string | null;
  answered_by: string;
  received: number;
  sent: number;
  ms: number;
  ray: string | null;
}

export type LiveEvent = DnsEvent | HttpEvent;

/** No line of the edge is as long; whoever sends more is not listened to. */
const LINE_MAX = 64 * 1_024;

/** Takes a stream apart, in whatever pieces it comes. */
export class Events {
  #rest = '';
  #event = '';
  #data: string[] = [];

  feed(text: string): { event: string; data: string }[] {
    const found: { event: string; data: string }[] = [];
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > LINE_MAX) throw new Error('the edge sent a line without an end');
    for (const whole of lines) {
      const line = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
      if (line === '') {
        if (this.#data.length > 0) found.push({ event: this.#event || 'message', data: this.#data.join('\n') });
        [this.#event, this.#data] = ['', []];
        continue;
      }
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === 'data') this.#data.push(value);
      else if (field === 'event') this.#event = value;
    }
    return found;
  }
}

/** What came, the newest first, and no more than there is room for. */
export function kept<T>(shown: T[], came: T[], max: number): T[] {
  return [...came.toReversed(), ...shown].slice(0, max);
}

/** Whether it is a name, a code and a status that somebody would look after. */
export function weight(event: LiveEvent): 'good' | 'warn' | 'bad' | '' {
  if (event.kind === 'dns') return event.code === 'NOERROR' ? 'good' : event.code === 'NXDOMAIN' ? 'warn' : 'bad';
  if (event.status === null) return 'warn';
  return event.status >= 500 ? 'bad' : event.status >= 400 ? 'warn' : event.status >= 200 && event.status < 300 ? 'good' : '';
}
