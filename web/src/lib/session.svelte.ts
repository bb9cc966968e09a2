// Who is logged in, and in which account they look.

import { ApiError, get, post, remove } from './api';
import { connection } from './connection.svelte';
import { everything } from './lists';
import { router } from './router.svelte';

export interface User {
  id: string;
  email: string;
}

export interface Account {
  id: string;
  name: string;
}

export interface EdgeFacts {
  version: string;
  account_id: string;
  domain: string;
  addresses: string[];
  name_servers: string[];
  dns: string[];
  dns_tls: string[];
  http: string[];
  https: string[];
  http3: string[];
  public_http?: number | null;
  public_https?: number | null;
  tunnel: string[];
  ports: { pools: string[]; tier: string; max: number | null; reason: string | null };
  private_origins: boolean;
  ca: string;
}

class Session {
  state = $state<'unknown' | 'out' | 'in'>('unknown');
  user = $state<User>();
  accounts = $state<Account[]>([]);
  edge = $state<EdgeFacts>();
  /** None where it may not be seen. */
  hasPassword = $state<boolean>();
  /** The code of a login link that was opened, until it is used or not wanted. */
  link = $state<string>();
  #chosen = $state<string>();

  constructor() {
    connection.onLost = () => this.#end();
  }

  get account(): string {
    return this.#chosen ?? this.accounts[0]?.id ?? '';
  }

  choose(account: string): void {
    this.#chosen = account;
  }

  /** Who the browser is logged in as, as the edge says; an error where it does not say. Other windows have the same session. */
  async holder(): Promise<User | undefined> {
    try {
      return await get<User>('/user');
    } catch (error) {
      if (error instanceof ApiError && isNobody(error)) return undefined;
      throw error;
    }
  }

  /** Whose a login link is; it is not used up by that. */
  owner(code: string): Promise<{ email: string }> {
    return post<{ email: string }>('/bartizan/sessions/codes/owner', { code });
  }

  /** Looks whether the browser has a session that holds. */
  async look(): Promise<void> {
    try {
      await this.#read();
    } catch {
      if (connection.isUp) this.state = 'out';
    }
  }

  async #read(): Promise<void> {
    const user = await get<User>('/user');
    const accounts = (await everything<Account>('/accounts')).items;
    const may = <T>(path: string): Promise<T | undefined> => get<T>(path).catch(() => undefined);
    const [edge, one] = await Promise.all([
      may<EdgeFacts>('/bartizan/edge'),
      may<{ has_password: boolean }>(`/bartizan/users/${user.id}`),
    ]);
    this.user = user;
    this.accounts = accounts;
    this.edge = edge;
    this.hasPassword = one?.has_password;
    this.state = 'in';
  }

  async logIn(body: { email: string; password: string } | { code: string }): Promise<void> {
    await post('/bartizan/sessions', body);
    await this.#read();
  }

  async logOut(): Promise<void> {
    await remove('/bartizan/sessions/current').catch(() => undefined);
    this.#end();
    router.go('/');
  }

  #end(): void {
    this.state = 'out';
    this.user = undefined;
    this.accounts = [];
    this.edge = undefined;
  }
}

/** Whether an answer says that nobody is logged in: no session was shown, or one that holds no more. */
export const isNobody = (error: ApiError): boolean => error.status === 401 || error.problems.some(({ code }) => [9106, 9109].includes(code));

export const session = new Session();
