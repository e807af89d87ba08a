/** App sessions: the same rules, over a token store. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processLocks } from '../../src/platform.js';
import { problem, type Inbound } from './server.js';
import { Keychain, World, type Tab } from './world.js';

const isRefresh = ({ path }: Inbound) => path === '/refresh';

/** What React Native has: no Web Locks, no channel, no storage, no page. */
function app(world: World, store: Keychain): Tab {
  return world.tab({
    store,
    platform: { locks: processLocks(), channel: undefined, storage: undefined, listen: () => () => {} },
  });
}

async function signedIn(world: World, store = new Keychain()): Promise<{ tab: Tab; store: Keychain }> {
  const tab = app(world, store);
  await world.until(tab.client.login({ email: 'ann', password: 'p' }));
  return { tab, store };
}

test('tokens are in the store, and requests carry the access token and no cookies', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  assert.equal(world.jar.size, 0);
  const entry = JSON.parse(store.text!);
  assert.equal(entry.kind, 'app');
  world.fate = (inbound) => {
    assert.equal(inbound.headers.get('authorization'), `Bearer ${entry.access}`);
    return {};
  };
  assert.equal((await world.until(tab.client.fetch('/own'))).status, 200);
  assert.equal((await world.until(tab.client.me()))?.session.kind, 'app');
});

test('the key is stored before sending, and leaves in the step that stores the new tokens', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  const before = JSON.parse(store.text!);
  world.fate = (inbound) => {
    if (isRefresh(inbound)) assert.equal(JSON.parse(store.text!).key, inbound.headers.get('idempotency-key'));
    return {};
  };
  assert.equal(await world.until(tab.client.refresh()), true);
  const [pending, stored] = store.written.slice(-2);
  assert.equal(pending.refresh, before.refresh);
  assert.equal(pending.n, before.n);
  assert.notEqual(stored.refresh, before.refresh);
  assert.equal(stored.key, undefined);
  assert.equal(stored.n, before.n + 1);
});

test('an access token that has ended is refreshed before the request, or when the server says so', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  await world.run(16 * 60_000);
  world.server.log.length = 0;
  assert.equal((await world.until(tab.client.fetch('/own'))).status, 200);
  assert.deepEqual(world.server.log, ['POST /refresh 200', 'GET /own 200']);
  await world.run(16 * 60_000);
  // A new process does not know how old the token is: the authorizer's bare 403 sends it to `me`.
  const restarted = app(world, store);
  world.server.log.length = 0;
  assert.equal((await world.until(restarted.client.fetch('/own'))).status, 200);
  assert.deepEqual(world.server.log, [
    'GET /own 403',
    'GET /me token_expired',
    'POST /refresh 200',
    'GET /me 200',
    'GET /own 200',
  ]);
});

test('killed between the answer and its storing: the same key brings the tokens again', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  void tab.client.refresh();
  await world.run(30);
  const { key } = JSON.parse(store.text!);
  tab.kill();
  await world.run(1000);
  assert.equal(world.server.rotations, 1);
  assert.equal(JSON.parse(store.text!).key, key);
  const restarted = app(world, store);
  assert.equal(await world.until(restarted.client.refresh()), true);
  assert.equal(world.server.rotations, 1);
  assert.equal((await world.until(restarted.client.me()))?.user.username, 'ann');
  assert.equal(world.server.alarms, 0);
});

test('a store that fails stops the refresh before it is sent, and signs nobody out', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  for (const fails of ['get', 'set'] as const) {
    store.fails = fails;
    world.server.log.length = 0;
    await assert.rejects(world.until(tab.client.refresh()), /keychain/);
    assert.deepEqual(world.server.log, []);
  }
  store.fails = undefined;
  assert.equal(await world.until(tab.client.refresh()), true);
  assert.deepEqual(tab.signedOut, []);
});

test('a store that fails after the answer: the next refresh repeats it', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  const refresh = assert.rejects(tab.client.refresh(), /keychain/);
  await world.run(30);
  store.fails = 'set';
  await world.until(refresh);
  store.fails = undefined;
  assert.equal(await world.until(tab.client.refresh()), true);
  assert.equal(world.server.rotations, 1);
  assert.deepEqual(tab.signedOut, []);
});

test('many requests at once make one refresh', async () => {
  const world = new World();
  const { tab } = await signedIn(world);
  await world.run(16 * 60_000);
  const answers = await world.until(Promise.all(Array.from({ length: 8 }, () => tab.client.fetch('/own'))));
  assert.deepEqual(
    answers.map(({ status }) => status),
    Array(8).fill(200),
  );
  assert.equal(world.server.rotations, 1);
});

test('a store without a lock for all: a late answer is ignored', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  let isSlow = true;
  world.fate = (inbound) => {
    if (!isRefresh(inbound) || !isSlow) return {};
    isSlow = false;
    return { back: 5000 };
  };
  const slow = tab.client.refresh();
  await world.run(100);
  // The app's extension shares the store and the pending key, and not the lock.
  const extension = app(world, store);
  assert.equal(await world.until(extension.client.refresh()), true);
  assert.equal(await world.until(extension.client.refresh()), true);
  const { n } = JSON.parse(store.text!);
  assert.equal(await world.until(slow), true);
  assert.equal(JSON.parse(store.text!).n, n, 'what was stored since is kept');
  assert.equal(await world.until(tab.client.refresh()), true);
  assert.equal(world.server.alarms, 0);
});

test('duplicate_request: waits and reads the store again', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  const extension = app(world, store);
  world.server.intercept = (inbound) => (isRefresh(inbound) ? problem(409, 'duplicate_request') : undefined);
  const refresh = tab.client.refresh();
  await world.run(60);
  world.server.intercept = () => undefined;
  assert.equal(await world.until(extension.client.refresh()), true);
  assert.equal(await world.until(refresh), true);
  assert.deepEqual(tab.signedOut, []);
});

test('a copied store is noticed', async () => {
  const world = new World();
  const { tab, store } = await signedIn(world);
  const thief = new Keychain();
  thief.text = store.text;
  assert.equal(await world.until(app(world, thief).client.refresh()), true);
  assert.equal(await world.until(tab.client.refresh()), false);
  await world.run(1);
  assert.deepEqual(tab.signedOut, ['reused']);
  assert.equal(world.server.alarms, 1);
});

test('log-in ends the session before, and log-out everywhere takes a pending refresh to its end first', async () => {
  const world = new World();
  const { tab } = await signedIn(world);
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  assert.equal(world.server.sessions.size, 1);
  const other = await signedIn(world);
  await world.until(other.tab.client.login({ username: 'ann', password: 'p' }));
  assert.equal(world.server.sessions.size, 2);
  world.fate = (inbound) => (isRefresh(inbound) ? { loses: 'answer', fails: true } : {});
  await assert.rejects(world.until(tab.client.refresh()), { code: 'network' });
  world.fate = () => ({});
  await world.until(tab.client.logout({ everywhere: true }));
  assert.equal(world.server.sessions.size, 0);
  await world.run(1);
  assert.deepEqual(tab.signedOut, ['logged_out']);
  assert.equal(await world.until(other.tab.client.me()), null);
  assert.deepEqual(other.tab.signedOut, ['ended']);
});

test('an app in the foreground refreshes ahead; one that nobody uses does not', async () => {
  const world = new World();
  const { tab } = await signedIn(world);
  await world.run(20 * 60_000);
  const { rotations } = world.server;
  await world.run(60 * 60_000);
  assert.equal(world.server.rotations, rotations);
  tab.client.active();
  await world.run(1000);
  assert.equal(world.server.rotations, rotations + 1);
});
