// Pools of servers, and how they are.

import { ApiError, get, reason } from './api';

export interface Origin {
  name: string;
  address: string;
  port?: number;
  enabled: boolean;
  weight: number;
}

export interface Pool {
  id: string;
  name: string;
  enabled: boolean;
  monitor?: string | null;
  minimum_origins: number;
  origins: Origin[];
}

export interface Seen {
  healthy: boolean;
  rtt: string;
  failure_reason: string;
  response_code: number;
}

export interface Health {
  pop_health: Record<string, { healthy: boolean; origins: Record<string, Seen>[] }>;
}

/** Whether a pool is well everywhere; undefined where nobody knows. */
export function health(of: Health | undefined): boolean | undefined {
  const all = Object.values(of?.pop_health ?? {});
  return all.length === 0 ? undefined : all.every((pop) => pop.healthy);
}

/** Pools that are asked about at once. */
const AT_ONCE = 6;

/** How each of some pools is, and why that of others is not known. What is deleted meanwhile is no fault. */
export async function healths(base: string, pools: string[], asked: (path: string) => Promise<Health> = get): Promise<{ of: Record<string, Health | undefined>; fault?: string }> {
  const of: Record<string, Health | undefined> = {};
  const left = [...pools];
  let fault: string | undefined;
  const turns = Array.from({ length: AT_ONCE }, async () => {
    for (let pool = left.shift(); pool !== undefined; pool = left.shift()) {
      try {
        of[pool] = await asked(`${base}/pools/${pool}/health`);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) fault = `It is not known how all pools are: ${reason(error)}`;
      }
    }
  });
  await Promise.all(turns);
  return { of, fault };
}

/** How one server of a pool is, by the place that is worst off. */
export function seen(of: Health | undefined, origin: Origin): Seen | undefined {
  const key = origin.port ? [`${origin.address}:${origin.port}`, `[${origin.address}]:${origin.port}`, origin.address] : [origin.address];
  const all = Object.values(of?.pop_health ?? {}).flatMap((pop) => pop.origins.flatMap((one) => Object.entries(one)));
  const own = all.filter(([address]) => key.includes(address)).map(([, one]) => one);
  return own.find((one) => !one.healthy) ?? own[0];
}

/** `192.0.2.1:8080=0.5`, one a line, as the command line has them. */
export function servers(text: string): Origin[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => {
      const [place = '', weight] = line.split('=');
      const bracketed = place.match(/^\[([^\]]+)\](?::(\d+))?$/);
      const simple = place.match(/^([^:]+):(\d+)$/);
      const address = bracketed?.[1] ?? simple?.[1] ?? place;
      const port = bracketed?.[2] ?? simple?.[2];
      return { name: place, address, ...(port ? { port: Number(port) } : {}), enabled: true, weight: weight ? Number(weight) : 1 };
    });
}
