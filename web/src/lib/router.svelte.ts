// Where in the dashboard one is. It stands behind `#`, so that every view has an address that can be kept and sent to somebody.

export interface Place {
  path: string;
  query: Record<string, string>;
}

export function parse(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  return { path: path.startsWith('/') ? path : '/', query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The parts of a path that a pattern names with a colon; none if it is another one. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const is = given[index] ?? '';
    if (part.startsWith(':')) {
      if (is === '') return undefined;
      try {
        found[part.slice(1)] = decodeURIComponent(is);
      } catch {
        return undefined;
      }
    } else if (part !== is) return undefined;
  }
  return found;
}

export function link(path: string, query: Record<string, string | number | undefined> = {}): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return `#${path}${text ? `?${text}` : ''}`;
}

class Router {
  place = $state<Place>(parse(typeof location === 'undefined' ? '' : location.hash));

  constructor() {
    if (typeof addEventListener === 'function') {
      addEventListener('hashchange', () => (this.place = parse(location.hash)));
    }
  }

  go(path: string, query: Record<string, string | number | undefined> = {}): void {
    location.hash = link(path, query);
  }

  /** Another view of the same page: going back leads out of the page. */
  replace(path: string, query: Record<string, string | number | undefined> = {}): void {
    history.replaceState(null, '', link(path, query));
    this.place = parse(location.hash);
  }
}

export const router = new Router();
