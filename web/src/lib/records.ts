// What the editor knows of records, to help who fills in a form. What is right is for the API to say.

export interface DnsRecord {
  id: string;
  name: string;
  type: string;
  content: string;
  priority?: number;
  proxiable: boolean;
  proxied: boolean;
  ttl: number;
  comment: string | null;
  tags: string[];
  modified_on: string;
  meta?: { managed_by_argo_tunnel?: boolean };
}

export interface RecordDraft {
  type: string;
  name: string;
  content: string;
  priority: string;
  proxied: boolean;
  ttl: number;
  comment: string;
  tags: string;
}

interface Help {
  content: string;
  example: string;
  says: string;
}

const HELP: Record<string, Help> = {
  A: { content: 'IPv4 address', example: '192.0.2.1', says: 'The address of a host.' },
  AAAA: { content: 'IPv6 address', example: '2001:db8::1', says: 'The IPv6 address of a host.' },
  CNAME: { content: 'Target', example: 'www.example.com', says: 'Another name for a host; it stands alone at its name.' },
  MX: { content: 'Mail server', example: 'mail.example.com', says: 'Where mail for this name goes; the lowest priority is tried first.' },
  TXT: { content: 'Text', example: 'v=spf1 mx -all', says: 'Text for machines: SPF, DKIM, proofs of ownership.' },
  NS: { content: 'Name server', example: 'ns1.example.net', says: 'Hands a part of the zone to other name servers.' },
  CAA: { content: 'Flags, tag, value', example: '0 issue "letsencrypt.org"', says: 'Which authorities may issue certificates.' },
  SRV: { content: 'Priority, weight, port, target', example: '10 5 5060 sip.example.com', says: 'Where a service runs, with its port. The name begins with _service._protocol.' },
  HTTPS: { content: 'Priority, target, parameters', example: '1 . alpn=h2', says: 'How browsers reach a site. Proxied names have one by themselves.' },
  SVCB: { content: 'Priority, target, parameters', example: '1 svc.example.net alpn=dot', says: 'How a service is reached.' },
  PTR: { content: 'Name', example: 'host.example.com', says: 'The name of an address, in a reverse zone.' },
  TLSA: { content: 'Usage, selector, type, digest', example: '3 1 1 0d6f…', says: 'Which certificate a server shows (DANE).' },
  SSHFP: { content: 'Algorithm, type, fingerprint', example: '4 2 9f86d0…', says: 'The key of an SSH server.' },
  DS: { content: 'Key tag, algorithm, type, digest', example: '2371 13 2 1f98…', says: 'The key of a signed zone below this one.' },
  URI: { content: 'Priority, weight, URI', example: '10 1 "https://example.com/"', says: 'Where a service is, as a URI.' },
  NAPTR: { content: 'Order, preference, flags, service, pattern, replacement', example: '100 10 "u" "E2U+sip" "" .', says: 'A step of rewriting names into addresses.' },
};

const OTHERS = ['CDNSKEY', 'CDS', 'CERT', 'DNAME', 'DNSKEY', 'LOC', 'OPENPGPKEY', 'SMIMEA'];

export const TYPES: string[] = [...Object.keys(HELP), ...OTHERS];
export const TTLS: number[] = [1, 60, 120, 300, 600, 1_800, 3_600, 7_200, 18_000, 43_200, 86_400];

export function help(type: string): Help {
  return HELP[type] ?? { content: 'Content', example: '', says: 'As in a zone file.' };
}

export const canBeProxied = (type: string): boolean => ['A', 'AAAA', 'CNAME'].includes(type);
export const hasPriority = (type: string): boolean => type === 'MX';

export function empty(): RecordDraft {
  return { type: 'A', name: '', content: '', priority: '10', proxied: false, ttl: 1, comment: '', tags: '' };
}

export function draft(record: DnsRecord, zone: string): RecordDraft {
  return {
    type: record.type,
    name: relative(record.name, zone),
    content: record.content,
    priority: String(record.priority ?? 10),
    proxied: record.proxied,
    ttl: record.ttl,
    comment: record.comment ?? '',
    tags: record.tags.join(', '),
  };
}

/** A name as it is said inside its zone. */
export function relative(name: string, zone: string): string {
  if (name === zone) return '@';
  return name.endsWith(`.${zone}`) ? name.slice(0, -zone.length - 1) : name;
}

/** A name as everybody else says it. */
export function absolute(name: string, zone: string): string {
  const bare = name.trim().replace(/\.$/, '');
  if (bare === '' || bare === '@') return zone;
  return bare === zone || bare.endsWith(`.${zone}`) ? bare : `${bare}.${zone}`;
}

export function body(draft: RecordDraft, zone: string): Record<string, unknown> {
  const record: Record<string, unknown> = {
    type: draft.type,
    name: absolute(draft.name, zone),
    content: draft.content.trim(),
    ttl: draft.proxied ? 1 : draft.ttl,
    comment: draft.comment.trim() || null,
    tags: draft.tags.split(',').map((tag) => tag.trim()).filter((tag) => tag !== ''),
  };
  if (canBeProxied(draft.type)) record.proxied = draft.proxied;
  if (hasPriority(draft.type)) record.priority = draft.priority.trim() === '' ? null : Number(draft.priority);
  return record;
}

const IPV4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;
const IPV6 = /^[0-9a-f:.]*:[0-9a-f:.]*$/i;

/** What is plainly wrong, told while somebody types; the fields by the names that the API has for them. */
export function faults(draft: RecordDraft): Record<string, string> {
  const found: Record<string, string> = {};
  const content = draft.content.trim();
  if (/\s/.test(draft.name.trim())) found['/name'] = 'A name has no spaces.';
  if (content === '') return found;
  if (draft.type === 'A' && !IPV4.test(content)) {
    found['/content'] = IPV6.test(content) ? 'This is an IPv6 address: take type AAAA.' : 'An IPv4 address has four numbers: 192.0.2.1';
  }
  if (draft.type === 'AAAA' && !IPV6.test(content)) {
    found['/content'] = IPV4.test(content) ? 'This is an IPv4 address: take type A.' : 'An IPv6 address, such as 2001:db8::1';
  }
  if (draft.type === 'CNAME' && IPV4.test(content)) found['/content'] = 'A CNAME leads to a name; for an address take type A.';
  if (hasPriority(draft.type) && !/^\d{1,5}$/.test(draft.priority.trim())) found['/priority'] = 'A number from 0 to 65535.';
  return found;
}

/** One sentence on what comes of it. */
export function outcome(draft: RecordDraft, zone: string, addresses: string[]): string {
  const name = absolute(draft.name, zone);
  const content = draft.content.trim() || '…';
  if (canBeProxied(draft.type) && draft.proxied) {
    const own = addresses.length > 0 ? ` (${addresses.slice(0, 2).join(', ')})` : '';
    return `Visitors of ${name} reach this edge${own}, which carries HTTP on to ${content}.`;
  }
  if (draft.type === 'A' || draft.type === 'AAAA') return `DNS answers ${name} with ${content}; visitors go there directly.`;
  if (draft.type === 'CNAME') return `DNS says that ${name} is another name of ${content}.`;
  if (draft.type === 'MX') return `Mail for ${name} goes to ${content}.`;
  return `DNS answers questions for ${name} ${draft.type} with this.`;
}
