// What the page does, as somebody in a terminal does it.

import { BASE, type Method } from './api';

export interface Call {
  method: Method;
  path: string;
  body?: unknown;
  /** A file that goes with it, by the name of its field. */
  file?: string;
}

/** A word for a shell, as it is where that is possible. */
export function word(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function curl({ method, path, body, file }: Call, origin: string): string {
  const lines = [`curl ${method === 'GET' ? '' : `-X ${method} `}${word(origin + BASE + path)}`];
  lines.push('-H "Authorization: Bearer $TOKEN"');
  if (file !== undefined) lines.push(`-F ${word(file)}`);
  else if (body !== undefined) lines.push("-H 'Content-Type: application/json'", `-d ${word(JSON.stringify(body))}`);
  return lines.join(' \\\n  ');
}

/** A command with its words; what is missing is left out. */
export function command(...words: (string | undefined | false)[]): string {
  return ['bartizan', ...words.filter((one) => one !== undefined && one !== false).map((one) => word(one as string))].join(' ');
}
