// How visitors reach what the edge serves.

export interface Doors {
  http: string[];
  https: string[];
  /** The port by which visitors come, where something in front leads them to a listener. */
  public_http?: number | null;
  public_https?: number | null;
}

const port = (address: string | undefined): number | undefined => (address ? Number(address.split(':').pop()) : undefined);

/** Where a browser finds a name: by HTTPS where the edge has it, by the port by which visitors come. */
export function address(edge: Doors | undefined, host: string): string {
  const isPlain = edge !== undefined && edge.https.length === 0 && edge.http.length > 0;
  const [scheme, usual] = isPlain ? ['http', 80] : ['https', 443];
  const by = isPlain ? (edge.public_http ?? port(edge.http[0])) : (edge?.public_https ?? port(edge?.https[0]));
  return by === undefined || by === usual ? `${scheme}://${host}/` : `${scheme}://${host}:${by}/`;
}

/** Where the edge listens for something, and by which port visitors come there. */
export function listening(addresses: string[], by?: number | null): string {
  if (addresses.length === 0) return 'nowhere';
  return addresses.join(', ') + (by ? `; visitors come by port ${by}` : '');
}
