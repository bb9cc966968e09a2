// The one way to the edge: its public API, as everybody calls it. The browser shows its session by a cookie that no script sees.

import { lost, reached, unreached } from './connection.svelte';

export const BASE = '/client/v4';

/** How long an answer is waited for. An import of a large file takes the longest. */
const WAIT_MAX_MS = 120_000;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Problem {
  code: number;
  message: string;
  error_chain?: { code: number; message: string }[];
  source?: { pointer?: string };
}

export interface ResultInfo {
  page: number;
  per_page: number;
  count: number;
  total_count: number;
  total_pages: number;
}

export interface Envelope<T> {
  result: T;
  success: boolean;
  errors: Problem[];
  messages: { code?: number; message?: string }[];
  result_info?: ResultInfo;
}

/** Why a call failed, in the words of the API. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problems: Problem[],
  ) {
    super(problems.map((problem) => problem.message).join('; ') || `the edge answered with status ${status}`);
  }

  /** What is said of one field of the body. */
  at(pointer: string): string | undefined {
    return this.problems.find((problem) => problem.source?.pointer === pointer)?.message;
  }

  /** What is said of no field among `shown`. */
  beside(shown: string[]): string | undefined {
    const others = this.problems.filter((problem) => !shown.includes(problem.source?.pointer ?? ''));
    return others.map((problem) => problem.message).join('; ') || undefined;
  }
}

/** A path with its query; what is empty or missing is left out. */
export function withQuery(path: string, query: Record<string, string | number | boolean | undefined>): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`);
  return text.length > 0 ? `${path}?${text.join('&')}` : path;
}

export async function call<T>(method: Method, path: string, body?: unknown): Promise<Envelope<T>> {
  const answer = await send(method, path, body);
  let envelope: Envelope<T>;
  try {
    envelope = (await answer.json()) as Envelope<T>;
  } catch {
    throw new ApiError(answer.status, [{ code: 0, message: `the edge answered ${answer.status} with something unreadable` }]);
  }
  if (!answer.ok || !envelope.success) throw refused(answer.status, envelope.errors ?? []);
  return envelope;
}

/** The body of an answer that is no envelope: a zone as a file. */
export async function text(path: string): Promise<string> {
  const answer = await send('GET', path);
  if (answer.ok) return answer.text();
  const problems = await answer.json().then((envelope: Envelope<unknown>) => envelope.errors, () => []);
  throw refused(answer.status, problems);
}

/** The body of an answer that does not end by itself. Who aborts `signal` wants no more of it. */
export async function stream(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  let answer: Response;
  try {
    answer = await fetch(BASE + path, { credentials: 'same-origin', cache: 'no-store', signal });
  } catch (error) {
    if (!signal.aborted) unreached();
    throw signal.aborted ? error : new ApiError(0, [{ code: 0, message: 'the edge does not answer' }]);
  }
  reached();
  if (answer.ok && answer.body) return answer.body;
  throw refused(answer.status, await answer.json().then((envelope: Envelope<unknown>) => envelope.errors, () => []));
}

async function send(method: Method, path: string, body?: unknown): Promise<Response> {
  const isForm = body instanceof FormData;
  const headers: Record<string, string> = body === undefined || isForm ? {} : { 'content-type': 'application/json' };
  try {
    const answer = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined || isForm ? (body as FormData | undefined) : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(WAIT_MAX_MS),
    });
    reached();
    return answer;
  } catch {
    unreached();
    throw new ApiError(0, [{ code: 0, message: 'the edge does not answer; nothing is known of what became of the call' }]);
  }
}

function refused(status: number, problems: Problem[]): ApiError {
  const ended = problems.some(
    ({ code, message }) => code === 9106 || (code === 9109 && message.includes('session has ended')),
  );
  if (ended) lost();
  return new ApiError(status, problems);
}

export const get = async <T>(path: string): Promise<T> => (await call<T>('GET', path)).result;
export const post = async <T>(path: string, body: unknown = {}): Promise<T> => (await call<T>('POST', path, body)).result;
export const put = async <T>(path: string, body: unknown): Promise<T> => (await call<T>('PUT', path, body)).result;
export const patch = async <T>(path: string, body: unknown): Promise<T> => (await call<T>('PATCH', path, body)).result;
export const remove = async <T>(path: string): Promise<T> => (await call<T>('DELETE', path)).result;

/** What went wrong, for a person. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
