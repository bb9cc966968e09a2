// What becomes of the build so that it can be in the binary: each file also in its compressed forms, and a table of all of
// them in Rust, which `control/dashboard` includes. The same sources give the same bytes with the pinned Node.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const KINDS: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  json: 'application/json',
  txt: 'text/plain; charset=utf-8',
};

export function embed(): Plugin {
  let folder = 'dist';
  return {
    name: 'embed',
    apply: 'build',
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      const files = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
        .filter((path) => !/\.(br|gz|rs)$/.test(path))
        .sort();
      const rows = files.map((path) => row(folder, path));
      const head = '// Written by the build of `web/` (`cargo xtask web build`); not by hand.\n';
      writeFileSync(join(folder, 'files.rs'), `${head}const FILES: &[File] = &[\n${rows.join('')}];\n`);
    },
  };
}

function row(folder: string, path: string): string {
  const bytes = readFileSync(join(folder, path));
  const kind = KINDS[path.split('.').pop() ?? ''];
  if (!kind) throw new Error(`${path}: its kind is not known to embed.ts`);
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  writeFileSync(join(folder, `${path}.br`), brotliCompressSync(bytes, quality));
  writeFileSync(join(folder, `${path}.gz`), gzipSync(bytes, { level: 9 }));
  const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  const at = path === 'index.html' ? '/' : `/${path}`;
  const file = (end: string) => `include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/${path}${end}"))`;
  return (
    `    File {\n        path: "${at}",\n        kind: "${kind}",\n        tag: "${tag}",\n` +
    `        plain: ${file('')},\n        brotli: ${file('.br')},\n        gzip: ${file('.gz')},\n    },\n`
  );
}
