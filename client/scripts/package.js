// Packs the package as `npm publish` would, and uses what comes out: in Node, as React Native's bundler finds it, and
// with its types.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'latchkey-package-'));
const run = (program, args, cwd) =>
  execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

try {
  const [{ filename, files }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], root));
  assert.deepEqual(
    files.map(({ path }) => path).sort(),
    [
      'LICENSE-APACHE',
      'LICENSE-MIT',
      'README.md',
      'dist/latchkey.d.ts',
      'dist/latchkey.js',
      'dist/native.js',
      'package.json',
    ],
    'what is published',
  );
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    assert.equal(readFileSync(join(root, name), 'utf8'), readFileSync(join(root, '..', name), 'utf8'), name);
  }
  assert.equal(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).private, undefined, 'it may be published');

  // Installed by unpacking, so that no registry is asked.
  const installed = join(folder, 'node_modules/latchkey-client');
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(folder, 'package.tar'), gunzipSync(readFileSync(join(folder, filename))));
  run('tar', ['-xf', 'package.tar', '--strip-components=1', '-C', installed], folder);

  const code = `
    import { createClient, LatchkeyError } from 'latchkey-client';
    const store = { get: async () => null, set: async () => {} };
    createClient({ api: 'https://api.example.com', store }).close();
    if (!(new LatchkeyError('network', 0) instanceof Error)) throw new Error('LatchkeyError is none');
    console.log(import.meta.resolve('latchkey-client').split('/').at(-1));`;
  const entry = (...conditions) =>
    run(process.execPath, [...conditions.map((one) => `--conditions=${one}`), '--input-type=module', '-e', code], folder);
  assert.equal(entry(), 'latchkey.js\n');
  assert.equal(entry('browser'), 'latchkey.js\n');
  assert.equal(entry('react-native'), 'native.js\n');
  // Bundlers of React Native before 0.79 read this field instead.
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  assert.equal(manifest['react-native'], manifest.exports['.']['react-native']);

  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(folder, 'use.ts'),
    `import { createClient, type Client, type SignedIn, type SignedOutReason } from 'latchkey-client';
     const reasons: SignedOutReason[] = [];
     const client: Client = createClient({ api: '/', onSignedOut: (reason) => reasons.push(reason), onSignedIn() {} });
     export const signedIn: Promise<SignedIn | null> = client.me();`,
  );
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    const types = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2022,dom'];
    run(process.execPath, [tsc, ...types, '--module', module, '--moduleResolution', resolution, 'use.ts'], folder);
  }
} finally {
  rmSync(folder, { recursive: true });
}
