// Whether the edge answers, and whether it knows who asks. The page says the first, and asks again by itself.

const AGAIN_MS = 3_000;

class Connection {
  isUp = $state(true);
  /** Set by the session when it has ended. */
  onLost: () => void = () => {};
}

export const connection = new Connection();

let waiting: ReturnType<typeof setTimeout> | undefined;

export function reached(): void {
  connection.isUp = true;
}

export function unreached(): void {
  connection.isUp = false;
  waiting ??= setTimeout(ask, AGAIN_MS);
}

async function ask(): Promise<void> {
  waiting = undefined;
  try {
    await fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(AGAIN_MS) });
    reached();
  } catch {
    unreached();
  }
}

export function lost(): void {
  connection.onLost();
}
