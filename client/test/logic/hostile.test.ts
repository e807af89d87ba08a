/**
 * Whatever is answered, by Latchkey, by API Gateway, or by somebody on the way (a proxy's page, a captive portal): each
 * method resolves with what its type says or rejects with a `LatchkeyError`, nobody is signed out but by Latchkey's own
 * word, and the next good answer works.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LatchkeyError, type Client } from '../../src/latchkey.js';
import { problem } from './server.js';
import { Keychain, World } from './world.js';

const RUNS = Number(process.env.LATCHKEY_ANSWERS ?? 300);

/** An answer as the network brings it. */
interface Raw {
  status: number;
  text: string;
  headers: Record<string, string>;
}

const goodSession = {
  user: { id: 'u-ann', username: 'ann', email: 'ann@example.com', locale: 'en', created_at: '2026-11-23T10:00:00Z' },
  session: {
    id: 's1',
    kind: 'browser',
    created_at: '2026-11-23T10:00:00Z',
    idle_expires_at: '2026-11-23T10:30:00Z',
    expires_at: '2026-11-24T10:00:00Z',
  },
  token: { expires_in: 1800, access: 'a.b.c', refresh: 'rt_x' },
  device: 'd',
};

const methods: Record<string, (client: Client) => Promise<unknown>> = {
  signUp: (client) => client.signUp({ username: 'ann', email: 'ann@example.com', password: 'p' }),
  resend: (client) => client.resend('su'),
  verify: (client) => client.verify({ code: '12345678' }),
  login: (client) => client.login({ username: 'ann', password: 'p' }),
  logout: (client) => client.logout(),
  logoutEverywhere: (client) => client.logout({ everywhere: true }),
  me: (client) => client.me(),
  reauthenticate: (client) => client.reauthenticate('p'),
  forgotPassword: (client) => client.forgotPassword({ email: 'ann@example.com' }),
  resetPassword: (client) => client.resetPassword({ token: 't', password: 'p' }),
  changePassword: (client) => client.changePassword('p', 'q'),
  changeEmail: (client) => client.changeEmail('b@example.com'),
  confirmEmail: (client) => client.confirmEmail({ token: 't' }),
  updateMe: (client) => client.updateMe({ locale: 'ko' }),
  deleteAccount: (client) => client.deleteAccount(),
  exportMe: (client) => client.exportMe(),
  sessions: (client) => client.sessions(),
  endSession: (client) => client.endSession('s2'),
  refresh: (client) => client.refresh(),
};

const isText = (value: any) => typeof value === 'string' && value !== '';
const isObject = (value: any) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isSignedIn = (value: any) => isText(value.user.id) && isText(value.session.id);

/** What a method may resolve with, whatever was answered. */
const promised: Record<string, (value: any) => boolean> = {
  signUp: isObject,
  resend: isObject,
  verify: isSignedIn,
  login: isSignedIn,
  me: (value) => value === null || isSignedIn(value),
  reauthenticate: isSignedIn,
  forgotPassword: isObject,
  changePassword: isSignedIn,
  changeEmail: isObject,
  updateMe: isSignedIn,
  exportMe: isObject,
  sessions: Array.isArray,
  refresh: (value) => typeof value === 'boolean',
};

/** The codes by which Latchkey says that a session is over. */
const ENDS = ['token_missing', 'token_expired', 'token_invalid', 'session_ended', 'token_reused'];
const EVERY_OBJECT_HAS = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];

// ------------------------------------------------------------------------------------------------------ Answers

const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(null, -1, 1e308, 0, '', [], {}, '900', true, { toString: 1, valueOf: 2 }, 'a\nb', '\u{1f511}'),
);

/** Somewhere in a good answer something else. */
const changed = fc
  .tuple(fc.constantFrom('user', 'session', 'token', 'device', 'sessions', 'user.id', 'session.id', 'session.kind',
    'token.expires_in', 'token.access', 'token.refresh', ...EVERY_OBJECT_HAS), odd)
  .map(([path, value]) => {
    const body: any = structuredClone({ ...goodSession, sessions: [] });
    const [first, last] = path.split('.') as [string, string | undefined];
    Object.defineProperty(last ? body[first] : body, last ?? first, { value, enumerable: true, configurable: true });
    return JSON.stringify(body);
  });

const problems = fc
  .record({
    code: fc.oneof(fc.constantFrom<unknown>(...ENDS, ...EVERY_OBJECT_HAS, 'wrong_password', 'rate_limited'), odd),
    detail: odd,
    request_id: odd,
  })
  .map((body) => JSON.stringify(body));

/** JSON keeps `__proto__` as a member, and numbers that are too large become infinite. */
const texts = fc.oneof(
  changed,
  problems,
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.tuple(changed, fc.nat(200)).map(([text, end]) => text.slice(0, end)),
  fc.constantFrom(
    '',
    'null',
    '<!doctype html><title>Sign in to the Wi-Fi</title>',
    '{"__proto__":{"polluted":true},"code":"token_invalid"}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    '{"user":{"id":"u","__proto__":{"polluted":true}},"session":{"id":"s"},"token":{"expires_in":1e999}}',
    '{"user":{"id":"u"},"session":{"id":"s"},"token":{"expires_in":123456789012345678901234567890,"access":"a","refresh":"r"}}',
    JSON.stringify(goodSession),
  ),
  fc.string(),
);

const retryAfters = fc.oneof(
  fc.constantFrom('', '0', '1', '42', ' 7 ', '-5', '+5', '1e9', '0x10', '0.5', 'Infinity', '999999999999999999999', '5, 6',
    'Wed, 21 Oct 2099 07:28:00 GMT', 'soon'),
  fc.stringMatching(/^[ -~]{0,12}$/),
);

const answers: fc.Arbitrary<Raw> = fc.record({
  status: fc.constantFrom(200, 201, 202, 204, 206, 300, 304, 400, 401, 403, 404, 409, 413, 418, 429, 500, 502, 503, 599),
  text: texts,
  headers: fc.option(
    retryAfters.map((value) => ({ 'content-type': 'application/json', 'retry-after': value }) as Record<string, string>),
    { nil: {} },
  ),
});

const respond = ({ status, text, headers }: Raw) =>
  new Response([204, 205, 304].includes(status) ? null : text, { status, headers });

/** A client that is signed in, and whose next answers are whatever `say` brings. */
async function start(isApp: boolean) {
  const world = new World();
  let say: () => Raw = () => ({ status: 200, text: JSON.stringify(goodSession), headers: {} });
  const sent: { url: string; init: RequestInit }[] = [];
  const fetch = async (url: string, init: RequestInit) => {
    sent.push({ url, init });
    return respond(say());
  };
  const store = new Keychain();
  const tab = world.tab({ store: isApp ? store : undefined, platform: { fetch } });
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  await world.run(10);
  return { world, tab, client: tab.client, store, sent, answer: (raw: Raw) => (say = () => raw) };
}

const codeOf = (text: string) => {
  try {
    return JSON.parse(text)?.code;
  } catch {
    return undefined;
  }
};

for (const [kind, isApp] of [['browser', false], ['app', true]] as const) {
  test(`${kind}: whatever is answered, a method brings what it says or a LatchkeyError`, { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(methods)), answers, async (name, raw) => {
        const { world, tab, client, answer } = await start(isApp);
        answer(raw);
        try {
          const value = await world.until(methods[name]!(client));
          assert.ok(promised[name]?.(value) ?? true, `${name} brought ${JSON.stringify(value)}`);
        } catch (error) {
          assert.ok(error instanceof LatchkeyError, `${name}: ${(error as Error).stack}`);
          assert.ok(isText(error.code) && (error.retryAfter === undefined || error.retryAfter > 0), String(error.retryAfter));
          assert.ok(error.detail === undefined || isText(error.detail));
        }
        await world.run(10);
        const isWord = raw.status === 401 && ENDS.includes(codeOf(raw.text));
        const isDone = raw.status < 300;
        assert.ok(isWord || isDone || tab.signedOut.length === 0, `${name}: signed out (${tab.signedOut})`);
        assert.equal(({} as any).polluted, undefined);

        // The next good answers work, whatever was stored.
        answer({ status: 200, text: JSON.stringify(goodSession), headers: {} });
        assert.ok(isSignedIn(await world.until(client.login({ username: 'ann', password: 'p' }))), name);
        assert.ok(isSignedIn(await world.until(client.me())), name);
        assert.ok(await world.until(client.refresh()), name);
      }),
      { numRuns: RUNS },
    );
  });
}

test('a code that every object has is no word about the session', async () => {
  for (const code of EVERY_OBJECT_HAS) {
    const { world, tab, client, answer } = await start(false);
    answer({ status: 401, text: JSON.stringify({ code }).replace('{}', `{"code":"${code}"}`), headers: {} });
    await assert.rejects(world.until(client.refresh()), { status: 401 });
    await assert.rejects(world.until(client.me()), LatchkeyError);
    await world.run(10);
    assert.deepEqual(tab.signedOut, [], code);
  }
});

test('Retry-After: whole seconds, and nothing else', async () => {
  for (const [header, seconds] of [
    ['42', 42],
    ['0', undefined],
    ['-5', undefined],
    ['1e9', undefined],
    ['0x10', undefined],
    ['Infinity', undefined],
    ['9999999999', undefined],
    ['1, 2', undefined],
    ['Wed, 21 Oct 2099 07:28:00 GMT', undefined],
    ['', undefined],
  ] as const) {
    const world = new World();
    world.server.intercept = () => ({ ...problem(429, 'rate_limited'), headers: { 'retry-after': header } });
    const signup = { username: 'a', email: 'b', password: 'c' };
    await assert.rejects(world.until(world.tab().client.signUp(signup)), { code: 'rate_limited', retryAfter: seconds });
  }
});

test('a negative Retry-After hurries no refresh', async () => {
  const { world, client, answer, sent } = await start(false);
  answer({ status: 503, text: '', headers: { 'retry-after': '-5' } });
  const from = world.time;
  await assert.rejects(world.until(client.refresh()), { code: 'unavailable' });
  assert.equal(sent.filter(({ url }) => url.endsWith('/refresh')).length, 3);
  assert.ok(world.time - from >= 1000, `${world.time - from} ms for three tries`);
});

test('problems with members of other types are told by what is left of them', async () => {
  const { world, client, answer } = await start(false);
  answer({ status: 422, text: '{"code":"weak_password","detail":{"toString":1},"request_id":7}', headers: {} });
  const signup = { username: 'a', email: 'b', password: 'c' };
  await assert.rejects(world.until(client.signUp(signup)), {
    code: 'weak_password',
    detail: undefined,
    requestId: undefined,
    message: 'weak_password',
  });
});

test('a page stores no token, whatever is answered', async () => {
  const { world, client, answer } = await start(false);
  const token = { expires_in: 1800, access: 'secret.access', refresh: 'rt_secret' };
  answer({ status: 200, text: JSON.stringify({ ...goodSession, token }), headers: {} });
  await world.until(client.login({ username: 'ann', password: 'p' }));
  await world.until(client.refresh());
  assert.doesNotMatch(JSON.stringify([...world.storage]), /secret/);
});

test("an app's session without tokens is none, and the one before stays", async () => {
  const { world, client, store, answer } = await start(true);
  const before = JSON.parse(store.text!);
  for (const token of [{ expires_in: 1800 }, { ...goodSession.token, refresh: 7 }, { ...goodSession.token, expires_in: '9' }]) {
    answer({ status: 200, text: JSON.stringify({ ...goodSession, token }), headers: {} });
    await assert.rejects(world.until(client.refresh()), { code: 'unexpected' });
    const { access, refresh, id } = JSON.parse(store.text!);
    assert.deepEqual({ access, refresh, id }, { access: before.access, refresh: before.refresh, id: before.id });
  }
});
