/** Each method's request and answer; whose credentials a request carries; what an answer without a code means. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, LatchkeyError } from '../../src/latchkey.js';
import { answer, problem, type Inbound } from './server.js';
import { World } from './world.js';

async function signedIn(remember = false) {
  const world = new World();
  const tab = world.tab();
  await world.until(tab.client.login({ username: 'ann', password: 'p', remember }));
  await world.run(10);
  world.server.log.length = 0;
  return { world, tab, client: tab.client };
}

test('each method sends what its route takes', async () => {
  const world = new World();
  const seen: Inbound[] = [];
  world.fate = (inbound) => {
    seen.push(inbound);
    return {};
  };
  const { client } = world.tab();
  const app = world.tab({ store: { get: async () => null, set: async () => {} } }).client;
  const signup = { username: 'ann', email: 'ann@example.com', password: 'p', locale: 'ko' };
  assert.equal((await world.until(client.signUp(signup))).signup_id, 'su');
  await world.until(app.signUp(signup));
  await world.until(client.resend());
  await world.until(client.resend('su'));
  await world.until(client.verify({ code: '12345678', signup_id: 'su', username: 'ann', remember: true }));
  await world.until(client.login({ email: 'ann', password: 'p' }));
  await world.until(app.login({ email: 'ann', password: 'p' }));
  const listed = await world.until(client.sessions());
  await world.until(client.endSession(listed.find(({ current }) => !current)!.id));
  await world.until(client.logout({ everywhere: true }));
  assert.deepEqual(
    seen.map(({ method, path, body }) => [method, path, body]),
    [
      ['POST', '/signup', signup],
      ['POST', '/signup', { ...signup, client: 'app' }],
      ['POST', '/signup/resend', {}],
      ['POST', '/signup/resend', { signup_id: 'su' }],
      ['POST', '/verify', { code: '12345678', signup_id: 'su', username: 'ann', remember: true }],
      ['POST', '/login', { email: 'ann', password: 'p' }],
      ['POST', '/login', { email: 'ann', password: 'p', client: 'app' }],
      ['GET', '/sessions', undefined],
      ['DELETE', '/sessions/s3', undefined],
      ['POST', '/logout', { everywhere: true }],
    ],
  );
  for (const { method, headers } of seen) {
    assert.equal(headers.get('content-type'), method === 'POST' ? 'application/json' : undefined);
  }
});

test('ending the current session is logging out', async () => {
  const { world, tab, client } = await signedIn();
  const [current] = await world.until(client.sessions());
  await world.until(client.endSession(current!.id));
  await world.run(1);
  assert.deepEqual(tab.signedOut, ['logged_out']);
  assert.equal(world.jar.size, 0);
});

test('errors are typed by code, and by status where there is none', async () => {
  const { world, client } = await signedIn();
  const cases = [
    [problem(422, 'weak_password'), { code: 'weak_password', status: 422, detail: 'why' }],
    [
      { ...problem(429, 'rate_limited'), headers: { 'retry-after': '42' } },
      { code: 'rate_limited', retryAfter: 42 },
    ],
    [answer(503, { code: 'unavailable', request_id: 'r-1' }), { code: 'unavailable', requestId: 'r-1' }],
    [answer(403, { message: 'Forbidden' }), { code: 'forbidden', status: 403 }],
    [answer(404, { message: 'Not Found' }), { code: 'not_found', status: 404 }],
    [answer(413, { message: 'Request Entity Too Large' }), { code: 'body_too_large', status: 413 }],
    [answer(429, { message: 'Too Many Requests' }), { code: 'rate_limited', status: 429 }],
    [answer(503, { message: 'Service Unavailable' }), { code: 'unavailable', status: 503 }],
    [answer(502), { code: 'unavailable', status: 502 }],
    [answer(418), { code: 'unexpected', status: 418 }],
    [answer(200), { code: 'network', status: 0 }],
  ] as const;
  for (const [fault, expected] of cases) {
    world.server.intercept = () => fault;
    const signup = { username: 'a', email: 'b', password: 'c' };
    await assert.rejects(world.until(client.signUp(signup)), (error) => {
      assert.ok(error instanceof LatchkeyError && error instanceof Error);
      for (const [name, value] of Object.entries(expected)) assert.equal((error as any)[name], value);
      return true;
    });
  }
  world.online = false;
  await assert.rejects(world.until(client.login({ username: 'a', password: 'b' })), { code: 'network', status: 0 });
});

test('a wrong password signs nobody out', async () => {
  const { world, tab, client } = await signedIn();
  await assert.rejects(world.until(client.login({ username: 'ann', password: 'wrong' })), {
    code: 'invalid_credentials',
  });
  assert.equal((await world.until(client.me()))?.user.username, 'ann');
  assert.deepEqual(tab.signedOut, []);
});

test('a request goes to the API alone', async () => {
  const { world, client } = await signedIn();
  for (const path of ['https://evil.test/', 'https://api.test.evil.test/', 'https://api.test@evil.test/', 'me', '']) {
    await assert.rejects(client.fetch(path), TypeError, path);
  }
  assert.equal((await world.until(client.fetch('https://api.test/own'))).status, 200);
  assert.throws(() => createClient({ api: 'no url' }));
});

test('a coded 401 of a token refreshes and repeats the request, with its body', async () => {
  const { world, client } = await signedIn(true);
  world.jar.delete('access');
  const bodies: unknown[] = [];
  world.fate = ({ path, body }) => {
    if (path === '/me') bodies.push(body);
    return {};
  };
  const response = await world.until(client.fetch('/me', { method: 'GET', body: '{"a":1}' }));
  assert.equal(response.status, 200);
  assert.deepEqual(bodies, [{ a: 1 }, { a: 1 }]);
  assert.deepEqual(world.server.log, ['GET /me token_missing', 'POST /refresh 200', 'GET /me 200']);
});

test('it repeats once', async () => {
  const { world, client } = await signedIn(true);
  world.server.intercept = ({ path }) => (path === '/own' ? problem(401, 'token_expired') : undefined);
  assert.equal((await world.until(client.fetch('/own'))).status, 401);
  assert.deepEqual(world.server.log, ['GET /own token_expired', 'POST /refresh 200', 'GET /own token_expired']);
});

test('a stream cannot be repeated: the first answer is handed on, and the next request works', async () => {
  const { world, client } = await signedIn(true);
  world.jar.delete('access');
  const body = new ReadableStream();
  assert.equal((await world.until(client.fetch('/me', { method: 'POST', body }))).status, 404);
  assert.equal((await world.until(client.fetch('/me', { body }))).status, 401);
  assert.equal((await world.until(client.fetch('/me', { body }))).status, 200);
});

test("a bare 403 is the authorizer's if `me` finds the token ended, and the route's own if not", async () => {
  const { world, client } = await signedIn(true);
  world.server.intercept = ({ path }) => (path === '/admin' ? answer(403, { message: 'Forbidden' }) : undefined);
  assert.equal((await world.until(client.fetch('/admin'))).status, 403);
  assert.deepEqual(world.server.log, ['GET /admin 403', 'GET /me 200']);
  world.jar.delete('access');
  world.server.log.length = 0;
  assert.equal((await world.until(client.fetch('/own'))).status, 200);
  assert.equal(world.server.count('POST /refresh'), 1);
});

test('codes that are not about the token refresh nothing', async () => {
  const { world, client } = await signedIn(true);
  for (const [status, code] of [
    [401, 'invalid_credentials'],
    [401, 'step_up'],
    [403, 'csrf_rejected'],
    [403, 'token_expired'],
  ] as const) {
    world.server.intercept = ({ path }) => (path === '/own' ? problem(status, code) : undefined);
    assert.equal((await world.until(client.fetch('/own'))).status, status);
  }
  assert.equal(world.server.log.length, 4);
});

test("a caller's own abort ends its request and releases the lock", async () => {
  const { world, client } = await signedIn();
  world.fate = ({ path }) => (path === '/own' ? { loses: 'answer' } : {});
  const abort = new AbortController();
  const aborted = assert.rejects(client.fetch('/own', { signal: abort.signal }), { name: 'AbortError' });
  await world.run(100);
  abort.abort();
  await world.until(aborted);
  assert.equal(await world.until(client.refresh()), true);
});

test('nobody was here: `me` says so, asks once, and no one is called', async () => {
  const world = new World();
  const tab = world.tab();
  assert.equal(await world.until(tab.client.me()), null);
  assert.deepEqual(world.server.log, ['GET /me token_missing', 'POST /refresh token_missing']);
  assert.equal(await world.until(tab.client.me()), null);
  assert.equal(world.server.log.length, 3, 'no second refresh');
  assert.deepEqual(tab.signedOut, []);
});

test("a session that the mailed link's page began is taken up, and refreshed from then on", async () => {
  for (const isAfterAnother of [false, true]) {
    const world = new World();
    if (isAfterAnother) {
      const before = world.tab().client;
      await world.until(before.login({ username: 'ann', password: 'p' }));
      await world.until(before.logout());
    }
    world.setCookies(
      world.server.signIn({
        method: 'POST',
        path: '/verify',
        body: { username: 'ann' },
        headers: new Map(),
        cookies: new Map(),
      }),
    );
    const tab = world.tab();
    assert.equal((await world.until(tab.client.me()))?.user.username, 'ann');
    await world.run(1000);
    assert.equal(world.server.rotations, 1, 'to learn how long a token lives');
    for (let minute = 0; minute < 120; minute++) {
      tab.touch();
      await world.run(60_000);
    }
    assert.equal((await world.until(tab.client.me()))?.user.username, 'ann');
    assert.deepEqual(tab.signedOut, []);
  }
});

test('a store that somebody emptied or broke is no log-out', async () => {
  for (const text of [undefined, 'no JSON', 'null']) {
    const { world, tab, client } = await signedIn(true);
    const name = 'latchkey:https://api.test';
    if (text) world.storage.set(name, text);
    else world.storage.delete(name);
    world.jar.delete('access');
    assert.equal((await world.until(client.fetch('/own'))).status, 200);
    assert.equal((await world.until(client.me()))?.user.username, 'ann');
    assert.deepEqual(tab.signedOut, []);
  }
});
