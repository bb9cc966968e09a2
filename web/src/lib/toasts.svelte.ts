// What was done, said for a while at the edge of the page, and how it is put back.

import { get, post, reason } from './api';

interface Entry {
  bartizan: { revision: number };
}

export interface Toast {
  id: number;
  text: string;
  kind: 'done' | 'failed';
  act?: { label: string; run: () => Promise<void> };
}

const SHOWN_MS = 10_000;
const SHOWN_MAX = 4;

class Toasts {
  all = $state<Toast[]>([]);
  #next = 0;

  say(text: string, kind: Toast['kind'] = 'done', act?: Toast['act']): void {
    const id = this.#next++;
    this.all = [...this.all, { id, text, kind, act }].slice(-SHOWN_MAX);
    setTimeout(() => this.drop(id), SHOWN_MS);
  }

  fail(error: unknown): void {
    this.say(reason(error), 'failed');
  }

  drop(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }

  /** Says that an object was changed, with a way back: the change is found in the history, and undone as a change of its own. */
  changed(text: string, object: string, then: () => unknown): void {
    // Asked for now, so that it is this change and not a later one.
    const found = get<Entry[]>(`/user/audit_logs?resource.id=${encodeURIComponent(object)}&per_page=1`).catch(() => []);
    this.say(text, 'done', {
      label: 'Undo',
      run: async () => {
        const revision = (await found)[0]?.bartizan.revision;
        if (revision === undefined) throw new Error('this change is not in the history that you may see');
        await post('/bartizan/undo', { revision });
        this.say('Undone');
        await then();
      },
    });
  }
}

export const toasts = new Toasts();
