/** What is committed in dist/ is what the source makes, and small. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

test('dist/ is fresh', () => {
  const fresh = mkdtempSync(join(tmpdir(), 'latchkey-dist-'));
  execFileSync(process.execPath, ['scripts/build.js', fresh]);
  for (const name of ['latchkey.js', 'native.js', 'latchkey.d.ts']) {
    const isSame = readFileSync(join(fresh, name), 'utf8') === readFileSync(join('dist', name), 'utf8');
    assert.ok(isSame, `dist/${name} is not what \`npm run build\` makes`);
  }
  rmSync(fresh, { recursive: true });
});

for (const name of ['latchkey', 'native']) {
  test(`${name}.js has at most 7 KB gzipped, and imports nothing`, (context) => {
    const module = readFileSync(`dist/${name}.js`);
    const size = gzipSync(module, { level: 9 }).length;
    context.diagnostic(`${module.length} bytes, ${size} gzipped`);
    assert.ok(size <= 7000, `${size} bytes`);
    assert.doesNotMatch(module.toString(), /\bimport\b|\brequire\b/);
  });
}

test('the types import nothing', () => {
  assert.doesNotMatch(readFileSync('dist/latchkey.d.ts', 'utf8'), /\bimport\b/);
});

test('the lock file names no registry', () => {
  assert.doesNotMatch(readFileSync('package-lock.json', 'utf8'), /"resolved"/);
});

test('no two modules import each other, by however many steps', () => {
  const imports = new Map<string, string[]>();
  for (const name of readdirSync('src')) {
    const text = readFileSync(join('src', name), 'utf8');
    imports.set(name, [...text.matchAll(/from '\.\/([^']+)\.js'/g)].map(([, module]) => `${module}.ts`));
  }
  const walk = (name: string, path: string[]): void => {
    assert.ok(!path.includes(name), [...path, name].join(' imports '));
    imports.get(name)!.forEach((next) => walk(next, [...path, name]));
  };
  for (const name of imports.keys()) walk(name, []);
});
