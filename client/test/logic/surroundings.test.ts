/** Where the module is loaded: Node, a server that renders pages, React Native, a page that is kept from things. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { browser } from '../../src/platform.js';

const moduleOf = (name: string) => pathToFileURL(`dist/${name}.js`).href;

let server: HttpServer;
let api: string;
let hangs = false;

before(async () => {
  const session = { id: 's', kind: 'app', created_at: '', idle_expires_at: 'a', expires_at: 'b' };
  const answer = { user: { id: 'u', username: 'ann' }, session, token: { expires_in: 900, access: 'a', refresh: 'r' } };
  server = createServer((request, response) => {
    if (hangs) return;
    const isRefused = request.url === '/me' && !request.headers.authorization;
    response.writeHead(isRefused ? 401 : 200, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(isRefused ? { code: 'token_missing' } : answer));
  });
  await new Promise<void>((done) => server.listen(0, 'localhost', done));
  api = `http://localhost:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

/** Runs it in a process of its own; fails if that does not end by itself. */
async function inNode(code: string, ...options: string[]): Promise<string> {
  const child = spawn(process.execPath, [...options, '--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const [status, signal] = await new Promise<[number | null, string | null]>((done) =>
    child.once('exit', (...how) => done(how)),
  );
  clearTimeout(timer);
  assert.equal(signal, null, `it goes on running: ${output}`);
  assert.equal(status, 0, output);
  return output;
}

const STORE = 'let text = null; const store = { get: async () => text, set: async (next) => { text = next; } };';

test('a process of Node ends without close(), signed in or not, in an app or not', async () => {
  for (const name of ['latchkey', 'native']) {
    for (const isApp of name === 'native' ? [true] : [true, false]) {
      await inNode(`
        import { createClient } from '${moduleOf(name)}';
        ${STORE}
        const client = createClient({ api: '${api}', ${isApp ? 'store' : ''} });
        await client.login({ username: 'ann', password: 'p' });
        await client.fetch('/own');
        await client.refresh();
        if (!client.refreshIn()) throw new Error('its timer is set');
      `);
      await inNode(`
        import { createClient } from '${moduleOf(name)}';
        ${STORE}
        const client = createClient({ api: '${api}', ${isApp ? 'store' : ''} });
        if ((await client.me()) && ${!isApp}) throw new Error('nobody is signed in');
      `);
    }
  }
});

test('but not before an answer has come, or its time is up', async () => {
  hangs = true;
  try {
    const output = await inNode(`
      import { createClient } from '${moduleOf('latchkey')}';
      ${STORE}
      // Nothing of it keeps the process running but the client.
      const platform = { fetch: () => new Promise(() => {}) };
      const client = createClient({ api: '${api}', store, timeout: 300, platform });
      await client.login({ username: 'ann', password: 'p' }).catch((error) => console.log(error.code));
    `);
    assert.match(output, /network/);
  } finally {
    hangs = false;
  }
});

test('a server that renders a page may make a client, of a relative URL too, whatever its globals are like', async () => {
  for (const globals of [
    '',
    'globalThis.window = globalThis;',
    'Object.defineProperty(globalThis, "localStorage", { value: {}, configurable: true });',
    'Object.defineProperty(globalThis, "localStorage", { get() { throw new Error("no"); }, configurable: true });',
    'globalThis.BroadcastChannel = class { constructor() { throw new Error("no"); } };',
    'delete globalThis.BroadcastChannel;',
  ]) {
    for (const url of [api, '', '/', '/api/']) {
      await inNode(`
        ${globals}
        const { createClient } = await import('${moduleOf('latchkey')}');
        const client = createClient({ api: '${url}' });
        if (client.refreshIn() !== undefined) throw new Error('nobody is signed in');
      `);
    }
  }
});

test('React Native: its entry is loaded and works without any global of a browser', async () => {
  const code = (
    await build({ entryPoints: ['src/native.ts'], bundle: true, write: false, format: 'iife', globalName: 'latchkey' })
  ).outputFiles[0]!.text;
  const session = { id: 's', kind: 'app', created_at: '', idle_expires_at: 'a', expires_at: 'b' };
  const body = { user: { id: 'u', username: 'ann' }, session, token: { expires_in: 900, access: 'a', refresh: 'r' } };
  class Response {
    ok = true;
    status = 200;
    headers = new Map();
    json = async () => body;
    clone = () => this;
  }
  // As old React Native has it: it aborts without a reason.
  class Signal {
    aborted = false;
    addEventListener() {}
    removeEventListener() {}
  }
  class AbortController {
    signal = new Signal();
    abort() {
      this.signal.aborted = true;
    }
  }
  const asked = new Set<string>();
  const globals: any = {
    fetch: async () => new Response(),
    setTimeout,
    clearTimeout,
    performance: { now: () => performance.now() },
    crypto: { getRandomValues: (array: Uint8Array) => array.fill(7) },
    AbortController,
    Headers: Map,
    URL,
    console,
  };
  const context = new Proxy(globals, {
    has: (target, name) => {
      if (!(name in target)) asked.add(String(name));
      return name in target;
    },
  });
  const run = `${code};
    let text = null;
    const reasons = [];
    const store = { get: async () => text, set: async (next) => { text = next; } };
    const client = latchkey.createClient({ api: 'https://api.test', store, onSignedOut: (reason) => reasons.push(reason) });
    result = (async () => {
      await client.login({ username: 'ann', password: 'p' });
      await client.refresh();
      await client.fetch('/own');
      const { user } = await client.me();
      client.active();
      await client.logout();
      client.close();
      return [user.username, reasons.join()].join();
    })();`;
  globals.result = undefined;
  runInNewContext(run, context);
  assert.equal(await globals.result, 'ann,logged_out');
  for (const name of ['window', 'document', 'localStorage', 'BroadcastChannel', 'navigator', 'location', 'addEventListener']) {
    assert.ok(!asked.has(name), `it asks for ${name}`);
    assert.doesNotMatch(code, new RegExp(`(?<![.'"\\w])${name}\\b(?!:)`), `it names ${name}`);
  }
});

test('React Native: what is missing is said at once', async () => {
  await inNode(`
    import { createClient } from '${moduleOf('native')}';
    import { rejects, throws, doesNotThrow } from 'node:assert';
    throws(() => createClient({ api: '${api}' }), /store/);
    Object.defineProperty(globalThis, 'crypto', { value: undefined });
    ${STORE}
    throws(() => createClient({ api: '${api}', store }), /getRandomValues/);
    doesNotThrow(() => createClient({ api: '${api}', store, platform: { key: () => 'k'.repeat(22) } }));
  `);
});

test('a page that is kept from locks has one of its own', async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const request = async () => {
    throw new DOMException('opaque origin', 'SecurityError');
  };
  try {
    Object.defineProperty(globalThis, 'navigator', { value: { locks: { request } }, configurable: true });
    const { locks } = browser();
    const order: string[] = [];
    const hold = (name: string) => async () => {
      order.push(name);
      await new Promise((done) => setTimeout(done, 5));
      order.push(name);
    };
    await Promise.all(['a', 'b'].map((name) => locks.request('one', { mode: 'exclusive' }, hold(name))));
    assert.deepEqual(order, ['a', 'a', 'b', 'b']);
    await assert.rejects(locks.request('one', { mode: 'exclusive' }, request), { name: 'SecurityError' });
  } finally {
    if (before) Object.defineProperty(globalThis, 'navigator', before);
    else delete (globalThis as any).navigator;
  }
});

test('a time limit that is too long for a timer is not one of nothing', async () => {
  for (const timeout of ['Infinity', '2 ** 53']) {
    await inNode(`
      import { createClient } from '${moduleOf('latchkey')}';
      ${STORE}
      const client = createClient({ api: '${api}', store, timeout: ${timeout} });
      await client.login({ username: 'ann', password: 'p' });
    `);
  }
});
