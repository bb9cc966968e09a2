// Something that comes from the edge and is shown: what is there, what went wrong, and whether an answer is still waited for.

import { untrack } from 'svelte';

import { ApiError, reason } from './api';

export class Loaded<T> {
  value = $state<T>();
  error = $state<string>();
  /** Whether the rights of whoever looks do not show it. */
  hidden = $state(false);
  busy = $state(false);
  #load: () => Promise<T>;
  #turn = 0;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  /** Asks again. An effect that does it says itself by what: nothing that is read here counts for it. What is shown stays until the answer is there; of several answers the one that was asked for last counts. */
  again = async (): Promise<void> => {
    const turn = ++this.#turn;
    this.busy = true;
    try {
      const value = await untrack(this.#load);
      if (turn !== this.#turn) return;
      this.value = value;
      this.error = undefined;
      this.hidden = false;
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = reason(error);
      this.hidden = error instanceof ApiError && error.status === 403;
      // What may not be seen any more is not shown.
      if (error instanceof ApiError && [403, 404].includes(error.status)) this.value = undefined;
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  };
}
