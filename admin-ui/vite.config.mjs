/**
 * Builds the admin page into `dist/admin-ui/page`, from where the gateway's admin port serves it. Nothing
 * is inlined into the document, so that the content policy can forbid inline scripts and styles.
 *
 * `npx vite admin-ui` serves it from its sources instead, with the API of the gateway whose admin
 * address is in METAPROXY_ADMIN (a onebox's otherwise).
 */
import react from '@vitejs/plugin-react'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { defineConfig } from 'vite'

const gateway = process.env.METAPROXY_ADMIN ?? 'http://127.0.0.1:34680'

/** Each file compressed beside itself, so that the gateway spends nothing on it. */
const compressed = {
  name: 'compressed',
  apply: 'build',
  writeBundle({ dir }) {
    for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
      if (!/\.(js|css|html|svg)$/.test(name)) continue
      const bytes = readFileSync(join(dir, name))
      writeFileSync(join(dir, `${name}.br`), brotliCompressSync(bytes))
      writeFileSync(join(dir, `${name}.gz`), gzipSync(bytes, { level: 9 }))
    }
  },
}

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), compressed],
  resolve: {
    alias: { 'react-remove-scroll': `${import.meta.dirname}/src/design/no-scroll-lock.tsx` },
  },
  server: { proxy: { '/api': gateway, '/config': gateway, '/openapi.json': gateway } },
  build: {
    outDir: '../dist/admin-ui/page',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
  },
})
