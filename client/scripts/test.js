// Bundles the tests of the folder that is named, and runs them with node:test.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const folder = process.argv[2];
const outdir = join('build', folder);
rmSync(outdir, { recursive: true, force: true });
const names = readdirSync(folder).filter((name) => name.endsWith('.test.ts'));
await build({
  entryPoints: names.map((name) => join(folder, name)),
  outdir,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  packages: 'external',
});
const files = names.map((name) => join(outdir, name.replace(/ts$/, 'mjs')));
const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...process.argv.slice(3), ...files], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
