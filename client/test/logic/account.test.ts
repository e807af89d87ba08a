/** The life of an account: the password asked for again, what replaces the session, and what ends with the account. */

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import type { LatchkeyError, Options } from '../../src/latchkey.js';
import { answer, problem, type Inbound } from './server.js';
import { Keychain, World, type Tab } from './world.js';

const MINUTE = 60_000;
type Kind = 'browser' | 'remembered' | 'app';
const KINDS: Kind[] = ['browser', 'remembered', 'app'];
const REPLACE = {
  '/reauthenticate': ({ client }: Tab) => client.reauthenticate('p'),
  '/password/change': ({ client }: Tab) => client.changePassword('p', 'new'),
} as const;
const ROUTES = Object.keys(REPLACE) as (keyof typeof REPLACE)[];

async function signedIn(kind: Kind, tabs = 1, options: Partial<Options> = {}) {
  const world = new World();
  const store = kind === 'app' ? new Keychain() : undefined;
  const all = Array.from({ length: tabs }, () => world.tab({ ...options, store }));
  await world.until(all[0]!.client.login({ username: 'ann', password: 'p', remember: kind === 'remembered' }));
  await world.run(10);
  world.server.log.length = 0;
  const entry = () => (store ? JSON.parse(store.text!) : world.entry);
  return { world, store, tabs: all, tab: all[0]!, client: all[0]!.client, entry };
}

/** What asks for the password, and is given these, one after the other. */
function asked(...answers: (string | undefined)[]) {
  const problems: (LatchkeyError | undefined)[] = [];
  const onReauthenticate = async (problem?: LatchkeyError) => {
    problems.push(problem);
    return answers.shift();
  };
  return { problems, onReauthenticate };
}

type SignedInWorld = Awaited<ReturnType<typeof signedIn>>;

/** It is one new session, the tabs act for it, and no key is left. */
async function assertReplaced({ world, tabs, entry }: SignedInWorld, replacements = 1) {
  await world.run(10);
  assert.equal(world.server.replacements, replacements);
  assert.equal(world.server.alarms, 0);
  const [session, ...others] = world.server.sessions.values();
  assert.deepEqual(others, []);
  const { id, key, proof, change, out } = entry();
  assert.deepEqual([id, key, proof, change, out], [session!.id, undefined, undefined, undefined, undefined]);
  for (const { client, signedOut, isAlive } of tabs) {
    assert.deepEqual(signedOut, []);
    if (!isAlive) continue;
    assert.equal((await world.until(client.me()))!.session.id, session!.id);
    assert.equal(await world.until(client.refresh()), true);
  }
}

test('each method sends what its route takes', async () => {
  const { onReauthenticate } = asked('p');
  const { world, client } = await signedIn('browser', 1, { onReauthenticate });
  const app = world.tab({ store: new Keychain() }).client;
  const seen: Inbound[] = [];
  world.fate = (inbound) => {
    seen.push(inbound);
    return {};
  };
  assert.deepEqual(await world.until(client.forgotPassword({ email: 'ann@example.com', locale: 'ko' })), {
    reset_id: undefined,
    expires_in: 86_400,
  });
  assert.equal((await world.until(app.forgotPassword({ username: 'ann' }))).reset_id, 're');
  await world.until(client.resetPassword({ code: '12345678', password: 'new' }));
  await world.until(app.resetPassword({ reset_id: 're', code: '12345678', password: 'new' }));
  await world.until(client.reauthenticate('p'));
  await world.until(client.changePassword('p', 'new'));
  assert.equal((await world.until(client.changeEmail('b@example.com'))).change_id, 'ch');
  await world.until(client.confirmEmail({ change_id: 'ch', code: '12345678' }));
  assert.equal((await world.until(client.updateMe({ username: 'bea', locale: 'ko' }))).user.username, 'ann');
  assert.deepEqual(await world.until(client.exportMe()), { user: 'ann' });
  await world.until(client.deleteAccount());
  assert.deepEqual(
    seen.map(({ method, path, body }) => [method, path, body]),
    [
      ['POST', '/password/forgot', { email: 'ann@example.com', locale: 'ko' }],
      ['POST', '/password/forgot', { username: 'ann', client: 'app' }],
      ['POST', '/password/reset', { code: '12345678', password: 'new' }],
      ['POST', '/password/reset', { reset_id: 're', code: '12345678', password: 'new', client: 'app' }],
      ['POST', '/reauthenticate', { password: 'p' }],
      ['POST', '/password/change', { password: 'p', new_password: 'new' }],
      ['POST', '/email/change', { email: 'b@example.com' }],
      ['POST', '/email/confirm', { change_id: 'ch', code: '12345678' }],
      ['PATCH', '/me', { username: 'bea', locale: 'ko' }],
      ['GET', '/me/export', undefined],
      ['DELETE', '/me', undefined],
    ],
  );
  for (const { headers, body } of seen) {
    assert.equal(headers.get('content-type'), body && 'application/json');
  }
});

for (const kind of KINDS) {
  for (const route of ROUTES) {
    test(`${kind}: ${route}: the key is stored before it is sent, and leaves with the answer`, async () => {
      const there = await signedIn(kind, kind === 'app' ? 1 : 2);
      const { world, tab, entry } = there;
      const before = entry().id;
      world.fate = (inbound) => {
        const key = inbound.headers.get('idempotency-key');
        assert.equal(route === '/reauthenticate' ? entry().proof : entry().change, key);
        assert.match(key!, /^[!-+\--~]{22,255}$/);
        return {};
      };
      const { session } = await world.until(REPLACE[route](tab));
      world.fate = () => ({});
      assert.notEqual(session.id, before);
      assert.equal(session.kind, kind);
      await assertReplaced(there);
    });

    for (const loses of ['request', 'answer'] as const) {
      for (const fails of [true, false]) {
        test(`${kind}: ${route}: a lost ${loses} (${fails ? 'fails' : 'hangs'}) is repeated with its key`, async () => {
          const there = await signedIn(kind);
          const { world, tab } = there;
          const keys: (string | undefined)[] = [];
          world.fate = (inbound) => {
            keys.push(inbound.headers.get('idempotency-key'));
            return keys.length <= 2 ? { loses, fails } : {};
          };
          await world.until(REPLACE[route](tab));
          assert.equal(new Set(keys).size, 1);
          assert.equal(keys.length, 3);
          world.fate = () => ({});
          await assertReplaced(there);
        });
      }
    }

    test(`${kind}: ${route}: all answers lost: told, the key stays, the same request is answered later`, async () => {
      const there = await signedIn(kind);
      const { world, tab, entry } = there;
      world.fate = () => ({ loses: 'answer', fails: true });
      await assert.rejects(world.until(REPLACE[route](tab)), { code: 'network' });
      const { proof, change } = entry();
      assert.ok(route === '/reauthenticate' ? proof : change);
      await world.run(9 * MINUTE);
      world.fate = () => ({});
      await world.until(REPLACE[route](tab));
      await assertReplaced(there);
    });

    test(`${kind}: ${route}: all answers lost: who comes next is asked for the password, and has it`, async () => {
      const { problems, onReauthenticate } = asked(...(route === '/reauthenticate' ? ['p'] : ['p', 'new']));
      const there = await signedIn(kind, 2, { onReauthenticate });
      const { world, tabs } = there;
      const [first, other] = tabs;
      world.fate = () => ({ loses: 'answer', fails: true });
      await assert.rejects(world.until(REPLACE[route](first!)), { code: 'network' });
      first!.kill();
      world.fate = () => ({});
      assert.equal((await world.until(other!.client.fetch('/own'))).status, 200);
      // Who changed the password does not know whether that has happened.
      const expected = route === '/reauthenticate' ? [undefined] : [undefined, 'wrong_password'];
      assert.deepEqual(problems.map((one) => one?.code), expected);
      await assertReplaced(there);
    });
  }

  test(`${kind}: all answers lost, and no password: signed out, in every tab, once`, async () => {
    for (const options of [asked(undefined), {}]) {
      const { world, tabs, entry } = await signedIn(kind, 2, options);
      world.fate = () => ({ loses: 'answer', fails: true });
      await assert.rejects(world.until(tabs[0]!.client.reauthenticate('p')), { code: 'network' });
      world.fate = () => ({});
      assert.equal(await world.until(tabs[0]!.client.refresh()), false);
      assert.equal(await world.until(tabs[1]!.client.refresh()), false);
      await world.run(10);
      assert.deepEqual(tabs.map(({ signedOut }) => signedOut), [['ended'], ['ended']]);
      assert.equal(entry().proof, undefined);
    }
  });

  test(`${kind}: a refresh overtakes the request: the key is there for when that arrives`, async () => {
    const { problems, onReauthenticate } = asked('p');
    const there = await signedIn(kind, 1, { onReauthenticate });
    const { world, tab, client, entry } = there;
    // The last try arrives when nobody waits for it any more, and after a refresh.
    let tries = 0;
    world.fate = ({ path }) => {
      if (path !== '/reauthenticate' || ++tries > 3) return {};
      return tries === 3 ? { there: 15_000 } : { loses: 'request', fails: true };
    };
    await assert.rejects(world.until(client.reauthenticate('p')), { code: 'network' });
    assert.equal(await world.until(client.refresh()), true);
    assert.ok(entry().proof);
    await world.run(10_000);
    assert.equal(world.server.replacements, 1, 'now it has come');
    assert.deepEqual(problems, []);
    assert.equal((await world.until(client.fetch('/own'))).status, 200);
    assert.equal(problems.length, 1);
    assert.deepEqual(tab.signedOut, []);
    await assertReplaced(there);
  });

  test(`${kind}: two tabs at once: one after the other, and both are told of a session`, async () => {
    const there = await signedIn(kind, 2);
    const { world, tabs } = there;
    const [one, two] = await world.until(Promise.all(tabs.map(({ client }) => client.reauthenticate('p'))));
    assert.notEqual(one!.session.id, two!.session.id);
    await assertReplaced(there, 2);
  });

  test(`${kind}: a refresh meanwhile, and requests`, async () => {
    for (const isFirst of [true, false]) {
      const there = await signedIn(kind, 2);
      const { world, tabs } = there;
      const [one, two] = tabs;
      world.fate = ({ path }) => (path === '/own' ? {} : { there: 3000, back: 3000 });
      const refresh = () => one!.client.refresh();
      const reauthenticate = () => two!.client.reauthenticate('p');
      const work = isFirst ? [refresh(), reauthenticate()] : [reauthenticate(), refresh()];
      const requests = tabs.map(({ client }) => client.fetch('/own'));
      await world.until(Promise.all(work));
      for (const response of await world.until(Promise.all(requests))) assert.equal(response.status, 200);
      world.fate = () => ({});
      await assertReplaced(there);
    }
  });

  test(`${kind}: a lost refresh is repeated first, if the old token is not taken any more`, async () => {
    const there = await signedIn(kind);
    const { world, client } = there;
    world.fate = () => ({ loses: 'answer', fails: true });
    await assert.rejects(world.until(client.refresh()), { code: 'network' });
    world.fate = () => ({});
    await world.run(2 * MINUTE);
    await world.until(client.reauthenticate('p'));
    if (kind !== 'app') assert.equal(world.server.count('POST /reauthenticate token_expired'), 1);
    await assertReplaced(there);
  });
}

test('a tab killed between the answer and its storing: the browser has the new session', async () => {
  const there = await signedIn('browser', 2);
  const { world, tabs } = there;
  tabs[0]!.diesAt = 'store';
  void tabs[0]!.client.reauthenticate('p');
  await world.run(1000);
  assert.equal(tabs[0]!.isAlive, false);
  assert.ok(world.entry.proof, 'the answered key is in the store still');
  assert.equal(await world.until(tabs[1]!.client.refresh()), true);
  await assertReplaced(there);
});

test('an app killed between the answer and its storing: the password brings the session again', async () => {
  const store = new Keychain();
  const world = new World();
  const options = { ...asked('p'), store };
  const { client } = world.tab(options);
  await world.until(client.login({ username: 'ann', password: 'p' }));
  world.fate = ({ path }) => {
    if (path === '/reauthenticate') store.fails = 'set';
    return {};
  };
  await assert.rejects(world.until(client.reauthenticate('p')), /the keychain is full/);
  store.fails = undefined;
  world.fate = () => ({});
  const next = world.tab(options);
  assert.equal((await world.until(next.client.me()))?.user.username, 'ann');
  assert.equal(world.server.replacements, 1);
  assert.deepEqual(next.signedOut, []);
});

test('a wrong password is told, leaves the session, and its key', async () => {
  const there = await signedIn('browser');
  const { world, client } = there;
  await assert.rejects(world.until(client.reauthenticate('q')), { code: 'wrong_password', status: 403 });
  await assert.rejects(world.until(client.changePassword('q', 'new')), { code: 'wrong_password' });
  await assert.rejects(world.until(client.changePassword('p', 'weak')), { code: 'weak_password' });
  assert.equal(world.entry.proof, undefined);
  assert.equal(world.entry.change, undefined);
  assert.equal(world.server.count('POST /refresh'), 0);
  await world.until(client.reauthenticate('p'));
  await assertReplaced(there);
});

test('nobody is signed in: nothing is sent', async () => {
  const { world, client } = await signedIn('browser');
  await world.until(client.logout());
  world.server.log.length = 0;
  await assert.rejects(world.until(client.reauthenticate('p')), { code: 'token_missing' });
  assert.deepEqual(world.server.log, []);
});

test('a password and what is told of it: the timer knows the new session', async () => {
  const { world, tabs } = await signedIn('browser', 2);
  await world.run(10 * MINUTE);
  await world.until(tabs[0]!.client.reauthenticate('p'));
  await world.run(10);
  for (const { client } of tabs) {
    const due = client.refreshIn()!;
    assert.ok(due > 22 * MINUTE && due < 28 * MINUTE, `${due}`);
  }
});

test('replaced shortly before its last minute: the end stays, and nothing is refreshed before it', async () => {
  const world = new World({ browserIdle: 1800, browserAbsolute: 3600, access: 900, appIdle: 3600, appAbsolute: 3600 });
  const tab = world.tab();
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  const use = async (minutes: number) => {
    for (let second = 0; second < minutes * 60; second += 10) {
      tab.touch();
      await world.run(10_000);
    }
  };
  await use(50);
  await world.until(tab.client.reauthenticate('p'));
  world.server.log.length = 0;
  await use(9);
  assert.equal(world.server.count('POST /refresh'), 0);
  assert.deepEqual(tab.signedOut, []);
});

// --------------------------------------------------------------------------------- What wants a recent proof

const open = ({ client }: Tab) => client.fetch('/vault', { method: 'POST', body: '{}' });

test('what wants a recent proof: the page is asked, the session replaced, the request repeated once', async () => {
  for (const kind of KINDS) {
    const { problems, onReauthenticate } = asked('p');
    const there = await signedIn(kind, 1, { onReauthenticate });
    const { world, tab } = there;
    assert.equal((await world.until(open(tab))).status, 200);
    assert.equal(problems.length, 0, 'who has just signed in is not asked');
    await world.run(6 * MINUTE);
    world.server.log.length = 0;
    assert.equal((await world.until(open(tab))).status, 200);
    assert.deepEqual(problems, [undefined]);
    assert.deepEqual(world.server.log, [
      'POST /vault reauthentication_required',
      'POST /reauthenticate 200',
      'POST /vault 200',
    ]);
    await assertReplaced(there);
  }
});

test('once and only once: what is refused again is handed on', async () => {
  const { problems, onReauthenticate } = asked('p', 'p', 'p');
  const { world, tab, client } = await signedIn('browser', 1, { onReauthenticate });
  const refusal = problem(403, 'reauthentication_required');
  world.server.intercept = ({ path }) => (path === '/vault' ? refusal : undefined);
  const response = await world.until(open(tab));
  assert.equal(response.status, 403);
  assert.equal((await response.json()).code, 'reauthentication_required');
  assert.equal(problems.length, 1);
  assert.equal(world.server.count('POST /vault'), 2);
  world.server.intercept = ({ path }) => (path === '/me/export' ? refusal : undefined);
  await assert.rejects(world.until(client.exportMe()), { code: 'reauthentication_required', status: 403 });
  assert.equal(world.server.count('GET /me/export'), 2);
});

test('many requests at once: one question, and each is repeated once', async () => {
  const { problems, onReauthenticate } = asked('p');
  const { world, tab } = await signedIn('browser', 1, { onReauthenticate });
  await world.run(6 * MINUTE);
  let number = 0;
  world.fate = ({ path }) => (path === '/vault' ? { back: 20 + 700 * (number++ % 3) } : {});
  const responses = await world.until(Promise.all([open(tab), open(tab), open(tab)]));
  assert.deepEqual(responses.map(({ status }) => status), [200, 200, 200]);
  assert.equal(problems.length, 1);
  assert.equal(world.server.replacements, 1);
  assert.equal(world.server.count('POST /vault'), 6);
});

test('a request that was sent before the password was given needs it no more', async () => {
  const { problems, onReauthenticate } = asked('p', 'p');
  const store = new Keychain();
  const world = new World();
  const tab = world.tab({ store, onReauthenticate });
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  await world.run(6 * MINUTE);
  // Apps' requests share no lock: this answer comes after the password was given for another.
  world.fate = ({ path }) => (path === '/me/export' ? { back: 5000 } : {});
  const slow = tab.client.exportMe();
  await world.run(100);
  await world.until(open(tab));
  assert.deepEqual(await world.until(slow), { user: 'ann' });
  assert.equal(problems.length, 1);
});

test('cancelled, or nobody to ask: the answer is handed on, the method rejects, the session goes on', async () => {
  for (const options of [asked(undefined, undefined), {}]) {
    const { world, tab, client } = await signedIn('remembered', 1, options);
    await world.run(6 * MINUTE);
    assert.equal((await (await world.until(open(tab))).json()).code, 'reauthentication_required');
    await assert.rejects(world.until(client.deleteAccount()), { code: 'reauthentication_required', status: 403 });
    assert.equal(world.server.count('POST /reauthenticate'), 0);
    assert.equal(world.server.count('POST /vault'), 1);
    assert.deepEqual(tab.signedOut, []);
    assert.equal((await world.until(client.fetch('/own'))).status, 200);
  }
});

test('a wrong password is asked for again, and says so; the tenth ends the session', async () => {
  const { problems, onReauthenticate } = asked('q', 'r', 'p');
  const { world, tab } = await signedIn('browser', 1, { onReauthenticate });
  await world.run(6 * MINUTE);
  assert.equal((await world.until(open(tab))).status, 200);
  assert.deepEqual(problems.map((one) => one?.code), [undefined, 'wrong_password', 'wrong_password']);

  const wrong = asked(...Array<string>(12).fill('q'));
  const other = await signedIn('browser', 1, wrong);
  await other.world.run(6 * MINUTE);
  await assert.rejects(other.world.until(open(other.tab)), { code: 'session_ended' });
  await other.world.run(10);
  assert.equal(wrong.problems.length, 11);
  assert.deepEqual(other.tab.signedOut, ['ended']);
});

test('a fault while the password is on its way is told', async () => {
  const { problems, onReauthenticate } = asked('p', 'p');
  const there = await signedIn('browser', 1, { onReauthenticate });
  const { world, tab } = there;
  await world.run(6 * MINUTE);
  world.fate = ({ path }) => (path === '/reauthenticate' ? { loses: 'answer', fails: true } : {});
  await assert.rejects(world.until(open(tab)), { code: 'network' });
  world.fate = () => ({});
  // The session was replaced, as the next one finds out.
  assert.equal((await world.until(open(tab))).status, 200);
  assert.equal(problems.length, 2);
  await assertReplaced(there);
});

test('a token that has ended, too: refreshed, asked, repeated', async () => {
  const { problems, onReauthenticate } = asked('p');
  const { world, tab } = await signedIn('remembered', 1, { onReauthenticate });
  world.jar.delete('access');
  world.sleep(6 * MINUTE, false);
  assert.equal((await world.until(open(tab))).status, 200);
  assert.equal(problems.length, 1);
  assert.deepEqual(world.server.log, [
    'POST /vault token_missing',
    'POST /refresh 200',
    'POST /vault reauthentication_required',
    'POST /reauthenticate 200',
    'POST /vault 200',
  ]);
});

test('a body that is used up is not sent again; the next request works', async () => {
  const { onReauthenticate } = asked('p');
  const { world, tab, client } = await signedIn('browser', 1, { onReauthenticate });
  await world.run(6 * MINUTE);
  const body = Readable.toWeb(Readable.from(['x'])) as unknown as BodyInit;
  assert.equal((await world.until(client.fetch('/vault', { method: 'POST', body }))).status, 403);
  assert.equal((await world.until(open(tab))).status, 200);
});

test('another 403 asks nobody', async () => {
  const { problems, onReauthenticate } = asked('p');
  const { world, tab } = await signedIn('browser', 1, { onReauthenticate });
  for (const refused of [answer(403, { message: 'Forbidden' }), problem(403, 'csrf_rejected')]) {
    world.server.intercept = ({ path }) => (path === '/vault' ? refused : undefined);
    assert.equal((await world.until(open(tab))).status, 403);
  }
  assert.equal(problems.length, 0);
});

test('signed out, or somebody else signed in, while the page asks: nothing is sent', async () => {
  for (const act of ['logout', 'login'] as const) {
    const world = new World();
    let give: (password: string) => void = () => {};
    const tab = world.tab({ onReauthenticate: () => new Promise((resolve) => (give = resolve)) });
    const other = world.tab();
    await world.until(tab.client.login({ username: 'ann', password: 'p' }));
    await world.run(6 * MINUTE);
    const response = open(tab);
    await world.run(1000);
    if (act === 'logout') await world.until(other.client.logout());
    else await world.until(other.client.login({ username: 'bob', password: 'p' }));
    give('p');
    await assert.rejects(world.until(response), { code: 'token_missing' });
    assert.equal(world.server.count('POST /reauthenticate'), 0);
    assert.equal(world.server.count('POST /vault'), 1);
  }
});

// ----------------------------------------------------------------------------------------------- The account

test('deletion clears cookies and store, and every tab is told', async () => {
  const { world, tabs, client, entry } = await signedIn('remembered', 2);
  await world.until(client.deleteAccount());
  await world.run(10);
  assert.deepEqual(tabs.map(({ signedOut }) => signedOut), [['deleted'], ['deleted']]);
  assert.equal(world.jar.size, 0);
  assert.equal(world.server.sessions.size, 0);
  assert.equal(entry().out, 'deleted');
  assert.equal(await world.until(client.me()), null);
});

test('deletion empties an app’s store of tokens', async () => {
  const { world, tab, client, store } = await signedIn('app');
  await world.until(client.deleteAccount());
  await world.run(10);
  const { access, refresh, out } = JSON.parse(store!.text!);
  assert.deepEqual([access, refresh, out], [undefined, undefined, 'deleted']);
  assert.deepEqual(tab.signedOut, ['deleted']);
});

test('a deletion that the server did not hear of rejects, and one whose answer was lost is found out', async () => {
  const { world, tab, client } = await signedIn('browser');
  world.fate = () => ({ loses: 'request', fails: true });
  await assert.rejects(world.until(client.deleteAccount()), { code: 'network' });
  assert.deepEqual(tab.signedOut, []);
  world.fate = ({ method }) => (method === 'DELETE' ? { loses: 'answer', fails: true } : {});
  await assert.rejects(world.until(client.deleteAccount()), { code: 'network' });
  world.fate = () => ({});
  await assert.rejects(world.until(client.deleteAccount()), { code: 'session_ended' });
  await world.run(10);
  assert.deepEqual(tab.signedOut, ['ended']);
});

test('an app is known by its device, from one session to the next', async () => {
  const store = new Keychain();
  const world = new World();
  const { client } = world.tab({ store });
  const sent: [string, string | undefined][] = [];
  world.fate = ({ path, body }) => {
    if (body?.device || path === '/login') sent.push([path, body.device]);
    return {};
  };
  const credentials = { username: 'ann', password: 'p' };
  await world.until(client.login(credentials));
  await world.until(client.refresh());
  await world.until(client.logout());
  await world.until(client.login(credentials));
  await world.until(client.reauthenticate('p'));
  await world.until(client.deleteAccount());
  await world.until(client.forgotPassword({ username: 'ann' }));
  await world.until(client.resetPassword({ reset_id: 're', code: '12345678', password: 'new' }));
  await world.until(client.login(credentials));
  assert.deepEqual(sent, [
    ['/login', undefined],
    ['/login', 'device of ann'],
    ['/password/forgot', 'device of ann'],
    ['/login', 'd'],
  ]);
});

test('a reset signs nobody in', async () => {
  const world = new World();
  const { client } = world.tab();
  await world.until(client.resetPassword({ code: '12345678', password: 'new' }));
  assert.equal(world.jar.size, 0);
  assert.equal(world.entry, null);
});
