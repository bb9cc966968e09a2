// Changes as the history has them, in words.

export interface Change {
  id: string;
  when: string;
  action: { type: string; result: boolean };
  actor: { id: string; email: string | null; ip: string | null; type: string };
  resource: { id: string; type: string };
  interface: string;
  metadata: { name?: string; zone_id?: string; zone_name?: string; route?: string } & Record<string, unknown>;
  oldValueJson: Record<string, unknown> | null;
  newValueJson: Record<string, unknown> | null;
  bartizan: { revision: number; key: string; token_name?: string };
}

const DONE: Record<string, string> = { add: 'Added', change: 'Changed', delete: 'Deleted', update: 'Changed' };

/** `Added A record www.example.com`. */
export function said(change: Change): string {
  if (change.resource.type === 'session') return change.action.type === 'add' ? 'Logged in' : 'A login ended';
  const document = change.newValueJson ?? change.oldValueJson;
  const kind = change.resource.type.replaceAll('_', ' ');
  const type = change.resource.type === 'record' && typeof document?.type === 'string' ? `${document.type} ` : '';
  const name = change.metadata.name ?? (typeof document?.name === 'string' ? document.name : change.resource.id);
  const zone = change.metadata.zone_name;
  const where = zone && !String(name).endsWith(zone) ? ` in ${zone}` : '';
  return `${DONE[change.action.type] ?? change.action.type} ${type}${kind} ${name}${where}`;
}

export interface Step {
  field: string;
  before: string | undefined;
  after: string | undefined;
}

/** Not worth a line: they change with everything. */
const BESIDE = ['modified_on', 'created_on', 'id', 'zone_id', 'zone_name', 'proxiable', 'meta'];

/** What became another, field by field. */
export function steps(change: Change): Step[] {
  const [before, after] = [change.oldValueJson ?? {}, change.newValueJson ?? {}];
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return fields
    .filter((field) => !BESIDE.includes(field))
    .map((field) => ({ field, before: shown(before[field]), after: shown(after[field]) }))
    .filter(({ before, after }) => before !== after);
}

function shown(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
