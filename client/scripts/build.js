// Builds latchkey.js, minified, and latchkey.d.ts into the folder that is named.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = process.argv[2] ?? 'dist';

mkdirSync(out, { recursive: true });
for (const name of ['latchkey', 'native']) {
  await build({
    entryPoints: [join(root, `src/${name}.ts`)],
    outfile: join(out, `${name}.js`),
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
  });
}

// One file of types: the contract, and the one function.
const types = mkdtempSync(join(tmpdir(), 'latchkey-types-'));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', types], { stdio: 'inherit' });
const api = readFileSync(join(types, 'api.d.ts'), 'utf8');
const createClient =
  '/** Makes a client. One for each page, or app. */\n' +
  'export declare function createClient(options: Options): Client;\n';
for (const name of ['latchkey', 'native']) {
  if (!readFileSync(join(types, `${name}.d.ts`), 'utf8').includes(createClient))
    throw new Error(`createClient has changed in ${name}`);
}
writeFileSync(join(out, 'latchkey.d.ts'), api + createClient);
rmSync(types, { recursive: true });
