// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat('en');
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (number: number): string => NUMBER.format(number);
export const short = (number: number): string => (number < 10_000 ? NUMBER.format(number) : COMPACT.format(number));

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Octets as people say them: each unit is a thousand of the one before. */
export function bytes(number: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let [left, at] = [number, 0];
  while (left >= 999.5 && at < units.length - 1) [left, at] = [left / 1_000, at + 1];
  return `${at === 0 || left >= 99.95 ? Math.round(left) : Number(left.toFixed(1))} ${units[at]}`;
}

const STEPS: [number, string][] = [
  [60, 'second'],
  [60, 'minute'],
  [24, 'hour'],
  [30, 'day'],
  [12, 'month'],
  [Infinity, 'year'],
];

/** How long ago something was, or how soon it will be. */
export function ago(when: string | number | Date, now = Date.now()): string {
  const seconds = (now - new Date(when).getTime()) / 1000;
  if (!Number.isFinite(seconds)) return 'at an unknown time';
  let left = Math.abs(seconds);
  if (left < 5) return 'just now';
  for (const [size, unit] of STEPS) {
    if (left < size) {
      const text = plural(Math.floor(left), unit);
      return seconds >= 0 ? `${text} ago` : `in ${text}`;
    }
    left /= size;
  }
  return '';
}

/** A time to the second, in the reader's own zone. */
export function time(when: string | number | Date): string {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return '';
  const two = (number: number) => String(number).padStart(2, '0');
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
}

/** A TTL as one says it. */
export function ttl(seconds: number): string {
  if (seconds === 1) return 'Auto';
  if (seconds % 86_400 === 0) return plural(seconds / 86_400, 'day');
  if (seconds % 3_600 === 0) return plural(seconds / 3_600, 'hour');
  if (seconds % 60 === 0) return plural(seconds / 60, 'minute');
  return plural(seconds, 'second');
}

/** A text of the edge with its commands between backticks, and the word that stands for the zone filled in. */
export function parts(text: string, zone: string): { text: string; isCode: boolean }[] {
  const all = text.split('`').map((part, at) => ({ text: at % 2 === 1 ? part.replace(/\bZONE\b/g, zone) : part, isCode: at % 2 === 1 }));
  return all.filter(({ text }) => text !== '');
}
