import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

import { embed } from './embed.ts';
import { licenses } from './licenses.ts';

// While one works on it: `BARTIZAN=http://127.0.0.1:8787 npx vite`, and the page of the edge at that address is this one.
const edge = process.env.BARTIZAN ?? 'http://127.0.0.1:8787';

export default defineConfig({
  plugins: [svelte(), licenses(), embed()],
  build: {
    target: 'es2022',
    // Nothing stands in line: the page's policy forbids it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '/client': { target: edge, headers: { host: new URL(edge).host, origin: edge } },
    },
  },
});
