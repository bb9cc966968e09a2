// Something that is done by a form: whether it goes on, and what the edge said against it.

import { ApiError } from './api';
import { toasts } from './toasts.svelte';

export class Act {
  busy = $state(false);
  fault = $state<ApiError>();

  /** Runs it; true when it is done. */
  run = async (act: () => Promise<unknown>): Promise<boolean> => {
    this.busy = true;
    this.fault = undefined;
    try {
      await act();
      return true;
    } catch (error) {
      if (error instanceof ApiError) this.fault = error;
      else toasts.fail(error);
      return false;
    } finally {
      this.busy = false;
    }
  };

  at = (pointer: string): string | undefined => this.fault?.at(pointer);
  beside = (...shown: string[]): string | undefined => this.fault?.beside(shown);
}

/** For what has no form: what was said against it is told beside the page. */
export async function tell(act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    toasts.fail(error);
  }
}
