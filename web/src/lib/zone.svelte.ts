// The zones that pages are about, by their ids, so that a name is asked for once.

import { get } from './api';

export interface Zone {
  id: string;
  name: string;
  status: string;
  paused: boolean;
  type: string;
  name_servers: string[];
  created_on: string;
  modified_on: string;
  meta: { phishing_detected: boolean };
  account: { id: string; name: string };
  permissions: string[];
}

/** A dashboard that is open for days does not remember more. */
const KNOWN_MAX = 500;

class Zones {
  #known = $state<Record<string, Zone>>({});

  of(id: string | undefined): Zone | undefined {
    return id === undefined ? undefined : this.#known[id];
  }

  note(zones: Zone[]): void {
    const all = { ...this.#known, ...Object.fromEntries(zones.map((zone) => [zone.id, zone])) };
    this.#known = Object.fromEntries(Object.entries(all).slice(-KNOWN_MAX));
  }

  async load(id: string): Promise<Zone> {
    const zone = await get<Zone>(`/zones/${id}`);
    this.note([zone]);
    return zone;
  }
}

export const zone = new Zones();
