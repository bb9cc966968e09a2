// The licences of what is not ours in the build: their notices go wherever the files go. Which packages these are is told by the
// modules that are in it, so none is forgotten; one without a notice, or under other terms, ends the build.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

/** Where the file is, as `control/dashboard` knows it too. */
export const NOTICES = 'assets/licenses.txt';

/** Terms that ask for no more than their notice. */
const ALLOWED = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD'];

export interface Notice {
  name: string;
  version: string;
  license: string;
  text: string;
}

export function licenses(): Plugin {
  return {
    name: 'licenses',
    apply: 'build',
    generateBundle() {
      const folders = [...this.getModuleIds()].map((id) => packageOf(id)).filter((folder) => folder !== undefined);
      const notices = [...new Set(folders)].map(notice);
      this.emitFile({ type: 'asset', fileName: NOTICES, source: text(notices) });
    },
  };
}

/** The folder of the package that a module is of; none of ours. What the builder puts in itself begins with a zero. */
function packageOf(id: string): string | undefined {
  const builder = /^\0(vite|rolldown)\//.exec(id)?.[1];
  const at = builder ? join(import.meta.dirname, 'node_modules', builder) : id.replace(/^\0/, '').split('?')[0] ?? '';
  if (!at.includes('/node_modules/')) return undefined;
  const [inside = ''] = at.split('/node_modules/').slice(-1);
  const name = inside.split('/').slice(0, inside.startsWith('@') ? 2 : 1).join('/');
  return join(at.slice(0, at.lastIndexOf('/node_modules/')), 'node_modules', name);
}

/** What a package says of its terms. */
export function notice(folder: string): Notice {
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string; version: string; license?: string };
  const { name, version, license = 'none' } = about;
  if (!ALLOWED.includes(license)) throw new Error(`${name}: its license is ${license}; the build takes ${ALLOWED.join(', ')}`);
  const file = existsSync(folder) ? readdirSync(folder).find((file) => /^(licen[cs]e|copying)(\.|$)/i.test(file)) : undefined;
  if (!file) throw new Error(`${name}: it brings no text of its license in ${dirname(join(folder, 'x'))}`);
  // What a builder lists of its own parts is about what it does not put into the build.
  const [own = ''] = readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').split(/^# Licenses of bundled dependencies$/m);
  return { name, version, license, text: own.trim() };
}

/** The file: each package with its terms. Two of one name are two versions. */
export function text(notices: Notice[]): string {
  const sorted = notices.toSorted((one, other) => `${one.name} ${one.version}`.localeCompare(`${other.name} ${other.version}`, 'en'));
  const parts = sorted.map(({ name, version, license, text }) => `${name} ${version} (${license})\n${'-'.repeat(72)}\n${text}\n`);
  return `The dashboard of Bartizan has parts of these packages, under their own terms:\n\n${parts.join('\n\n')}`;
}
