// Tunnels as the API has them.

export interface Connection {
  id: string;
  colo_name: string;
  origin_ip: string;
  opened_at: string;
  client_id: string;
  client_version: string;
}

export interface Tunnel {
  id: string;
  name: string;
  status: string;
  created_at: string;
  connections: Connection[];
  remote_config: boolean;
}

export interface Connector {
  id: string;
  version: string;
  arch: string;
  run_at: string;
  conns: Connection[];
}

/** How a state is coloured. */
export function health(status: string): string {
  return { healthy: 'good', degraded: 'warn', down: 'bad' }[status] ?? '';
}
