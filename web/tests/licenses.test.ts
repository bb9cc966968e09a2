import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { notice, text } from '../licenses';

let root = '';
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'licenses-'))));
afterEach(() => rmSync(root, { recursive: true }));

function packed(name: string, about: object, files: Record<string, string>): string {
  const folder = join(root, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.2.3', ...about }));
  for (const [file, body] of Object.entries(files)) writeFileSync(join(folder, file), body);
  return folder;
}

describe('the licenses of what is in the build', () => {
  it('are told by the file that a package brings, however it is called', () => {
    for (const [at, file] of ['LICENSE', 'license', 'LICENSE.md', 'LICENCE.txt', 'COPYING'].entries()) {
      const one = notice(packed(`one-${at}`, { license: 'MIT' }, { readme: '', [file]: 'Terms\r\nof it\n' }));
      expect(one).toEqual({ name: `one-${at}`, version: '1.2.3', license: 'MIT', text: 'Terms\nof it' });
    }
  });

  it('end the build where there is none, or another than is taken', () => {
    expect(() => notice(packed('bare', { license: 'MIT' }, {}))).toThrow('bare: it brings no text of its license');
    expect(() => notice(packed('strict', { license: 'GPL-3.0' }, { LICENSE: 'x' }))).toThrow('strict: its license is GPL-3.0');
    expect(() => notice(packed('silent', {}, { LICENSE: 'x' }))).toThrow('silent: its license is none');
  });

  it('are one text in one order', () => {
    const one = (name: string, version: string) => ({ name, version, license: 'MIT', text: `Terms of ${name}` });
    const both = text([one('b', '2.0.0'), one('a', '1.0.0'), one('b', '1.0.0')]);
    expect([...both.matchAll(/^(\w) (\S+) \(MIT\)$/gm)].map(([, name, version]) => `${name}${version}`)).toEqual(['a1.0.0', 'b1.0.0', 'b2.0.0']);
    expect(both).toContain('Terms of a');
  });
});
