/** Each method's request and answer; whose credentials a request carries; what an answer without a code means. */

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { createClient, LatchkeyError } from '../../src/latchkey.js';
import { answer, problem, type Inbound } from './server.js';
import { Keychain, World } from './world.js';

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
  async function* generated() {
    yield new Uint8Array(1);
  }
  for (const body of [new ReadableStream(), Readable.from(['x']), generated()] as BodyInit[]) {
    const { world, client } = await signedIn(true);
    world.jar.delete('access');
    assert.equal((await world.until(client.fetch('/me', { method: 'POST', body }))).status, 404);
    assert.equal((await world.until(client.fetch('/me', { body }))).status, 401);
    assert.equal((await world.until(client.fetch('/me', { body }))).status, 200);
  }
  for (const body of ['{}', new Blob(['x']), new FormData(), new URLSearchParams('a=b'), new Uint8Array(1)] as BodyInit[]) {
    const { world, client } = await signedIn(true);
    world.jar.delete('access');
    assert.equal((await world.until(client.fetch('/me', { body }))).status, 200);
  }
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

/** The browser holds the token of the generation before: the answer to a refresh was lost, and its time has passed. */
async function behind(remember: boolean) {
  const { world, tab, client } = await signedIn(remember);
  world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
  await assert.rejects(world.until(client.refresh()), { code: 'network' });
  world.fate = () => ({});
  const { key } = world.entry;
  await world.run(61_000);
  world.server.log.length = 0;
  return { world, tab, client, key };
}

for (const remember of [false, true]) {
  const kind = remember ? 'remembered' : 'browser';

  test(`${kind}: a generation behind, long before its exp: refreshed with the stored key, and repeated once`, async () => {
    for (const path of ['/own', '/me', '/sessions']) {
      const { world, tab, client, key } = await behind(remember);
      const keys: unknown[] = [];
      world.fate = ({ path, headers }) => {
        if (path === '/refresh') keys.push(headers.get('idempotency-key'));
        return {};
      };
      assert.equal((await world.until(client.fetch(path))).status, 200);
      assert.deepEqual(keys, [key]);
      assert.equal(world.server.count(`GET ${path}`), 2);
      assert.equal(world.server.rotations, 1, 'the lost rotation is the only one');
      assert.equal(world.generationInJar, 2);
      assert.equal(world.server.alarms, 0);
      assert.deepEqual(tab.signedOut, []);
    }
  });

  test(`${kind}: many requests of a generation behind make one refresh`, async () => {
    const { world, client } = await behind(remember);
    const other = world.tab().client;
    const all = Array.from({ length: 12 }, (_, index) => (index % 2 ? client : other).fetch('/own'));
    const answers = await world.until(Promise.all(all));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(world.server.count('POST /refresh'), 1);
  });

  test(`${kind}: within the minute it is still good, and costs nothing`, async () => {
    const { world, client } = await signedIn(remember);
    world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
    await assert.rejects(world.until(client.refresh()), { code: 'network' });
    world.fate = () => ({});
    world.server.log.length = 0;
    assert.equal((await world.until(client.fetch('/own'))).status, 200);
    assert.deepEqual(world.server.log, ['GET /own 200']);
  });

  test(`${kind}: whatever is answered, a request is sent twice at most, with one refresh at most`, async () => {
    for (const code of ['token_missing', 'token_invalid', 'token_expired', 'session_ended', 'token_reused']) {
      for (const path of ['/own', '/me']) {
        const { world, tab, client } = await signedIn(remember);
        world.server.intercept = (inbound) => (inbound.path === path ? problem(401, code) : undefined);
        if (path === '/me') await world.until(client.me());
        else assert.equal((await world.until(client.fetch(path))).status, 401);
        assert.deepEqual(world.server.log, [`GET ${path} ${code}`, 'POST /refresh 200', `GET ${path} ${code}`]);
        assert.deepEqual(tab.signedOut, [], 'only a refused refresh ends the session');
      }
    }
  });

  test(`${kind}: refused, and the refresh has no answer: the fault is told, and nobody is signed out`, async () => {
    const { world, tab, client } = await behind(remember);
    world.fate = ({ path }) => (path === '/refresh' ? { loses: 'request', fails: true } : {});
    await assert.rejects(world.until(client.fetch('/own')), { code: 'network' });
    assert.equal(world.server.count('GET /own'), 1);
    assert.deepEqual(tab.signedOut, []);
  });

  test(`${kind}: a long upload that was refused is sent again, whole`, async () => {
    const text = JSON.stringify({ picture: 'x'.repeat(40_000) });
    const { world, tab, client } = await behind(remember);
    const bodies: unknown[] = [];
    world.fate = ({ path, body }) => {
      if (path === '/own') bodies.push(JSON.stringify(body)?.length);
      return {};
    };
    world.server.intercept = (inbound) =>
      inbound.path === '/own' && bodies.length === 1 ? problem(401, 'token_expired') : undefined;
    await world.until(client.fetch('/own', { method: 'PUT', body: text }));
    assert.deepEqual(bodies, [text.length, text.length]);
    assert.equal(world.server.alarms, 0);
    assert.deepEqual(tab.signedOut, []);
  });

  test(`${kind}: a request tells of reuse: the end is told as that`, async () => {
    for (const path of ['/sessions', '/me']) {
      const { world, tab, client } = await signedIn(remember);
      const stolen = world.cookies();
      const headers = () => new Map([['idempotency-key', `a-key-of-the-thief-himself-${world.server.rotations}`]]);
      // The thief is two generations ahead.
      for (let time = 0; time < 2; time++) {
        const { setCookies } = world.server.handle({
          method: 'POST',
          path: '/refresh',
          body: undefined,
          cookies: stolen,
          headers: headers(),
        });
        setCookies.forEach((cookie, name) => cookie && stolen.set(name, cookie.value));
      }
      if (path === '/me') assert.equal(await world.until(client.me()), null);
      else assert.ok((await world.until(client.fetch(path))).status >= 400);
      await world.run(10);
      assert.deepEqual(tab.signedOut, ['reused']);
      assert.equal(world.server.alarms, 1);
    }
  });
}

test('an app, too: an access token that is refused before its end is refreshed, and the request repeated once', async () => {
  const world = new World();
  const tab = world.tab({ store: new Keychain(), platform: { channel: undefined, storage: undefined } });
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  let refused = 1;
  world.server.intercept = ({ path }) => (path === '/own' && refused-- > 0 ? problem(401, 'token_expired') : undefined);
  world.server.log.length = 0;
  assert.equal((await world.until(tab.client.fetch('/own'))).status, 200);
  assert.deepEqual(world.server.log, ['GET /own token_expired', 'POST /refresh 200', 'GET /own 200']);
});

test('a 401 of another kind on /me is no word about who is signed in', async () => {
  const { world, tab, client } = await signedIn();
  for (const fault of [answer(401, { message: 'Unauthorized' }), answer(401), problem(401, 'proxy_login')]) {
    world.server.intercept = () => fault;
    await assert.rejects(world.until(client.me()), { status: 401 });
  }
  world.server.intercept = () => undefined;
  assert.equal((await world.until(client.me()))?.user.username, 'ann');
  assert.deepEqual(tab.signedOut, []);
});

test('what is called back may call the client, and may throw', async () => {
  const world = new World();
  const seen: unknown[] = [];
  const tab = world.tab({
    onSignedOut: (reason) => {
      seen.push(reason);
      // The lock is held still.
      void tab.client.me().then((who) => seen.push(who));
    },
  });
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  await world.until(tab.client.logout());
  await world.run(1000);
  assert.deepEqual(seen, ['logged_out', null]);
});

test('two clients of one page, one of them closed in the middle of a refresh', async () => {
  const { world, client } = await signedIn();
  const twin = world.tab().client;
  void client.refresh();
  await world.run(30);
  client.close();
  assert.equal(await world.until(twin.refresh()), true);
  assert.equal(world.server.alarms, 0);
  assert.equal((await world.until(twin.me()))?.user.username, 'ann');
  assert.equal(world.entry.key, undefined);
});

test('a token that lives for half a year needs no timer beyond what engines can count', async () => {
  const year = 365 * 86_400;
  const world = new World({ browserIdle: year, browserAbsolute: year, access: year / 2, appIdle: year, appAbsolute: year });
  for (const remember of [false, true]) {
    const tab = world.tab();
    await world.until(tab.client.login({ username: 'ann', password: 'p', remember }));
    const { rings } = world;
    await world.run(3_600_000);
    assert.ok(world.rings - rings < 200);
    assert.equal(world.server.rotations, 0);
    tab.kill();
  }
});
