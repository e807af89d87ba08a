/** localStorage that is emptied, full, closed, or none at all; and what an app's store does likewise. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '../../src/latchkey.js';
import { processLocks } from '../../src/platform.js';
import { Keychain, World, type Tab } from './world.js';

const MINUTE = 60_000;

async function signedIn(remember: boolean, count = 1): Promise<{ world: World; tabs: Tab[] }> {
  const world = new World();
  const tabs = Array.from({ length: count }, () => world.tab());
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p', remember }));
  await world.run(100);
  return { world, tabs };
}

const reasons = (tabs: Tab[]) => tabs.map(({ signedOut }) => signedOut);

for (const remember of [false, true]) {
  const kind = remember ? 'remembered' : 'browser';

  test(`${kind}: the storage is emptied: an active person stays signed in, at the usual pace`, async () => {
    const { world, tabs } = await signedIn(remember, 3);
    for (let minute = 0; minute < 180; minute++) {
      if (minute % 40 === 7) world.clearStorage(tabs[minute % 3]);
      tabs[minute % 3]!.touch();
      const rings = world.rings;
      await world.run(MINUTE);
      assert.ok(world.rings - rings < 150, `${world.rings - rings} timers in a minute`);
    }
    assert.deepEqual(reasons(tabs), [[], [], []]);
    const life = remember ? 15 : 30;
    assert.ok(world.server.rotations <= 2 * (180 / life) + 5, `${world.server.rotations} rotations`);
    for (const { client } of tabs) assert.equal((await world.until(client.me()))?.user.username, 'ann');
    assert.equal(world.server.alarms, 0);
  });

  test(`${kind}: emptied at every single moment, for minutes`, async () => {
    const { world, tabs } = await signedIn(remember, 2);
    for (let step = 0; step < 400; step++) {
      world.clearStorage();
      if (step % 20 === 0) tabs[step % 2]!.client.refresh().catch(() => {});
      if (step % 7 === 0) void tabs[1]!.client.fetch('/own');
      tabs[0]!.touch();
      await world.run(17);
    }
    await world.run(MINUTE);
    assert.deepEqual(reasons(tabs), [[], []]);
    assert.equal(world.server.alarms, 0);
    for (const { client } of tabs) assert.equal(await world.until(client.refresh()), true);
  });

  test(`${kind}: emptied, a key that was sent is repeated all the same`, async () => {
    const { world, tabs } = await signedIn(remember);
    world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
    await assert.rejects(world.until(tabs[0]!.client.refresh()), { code: 'network' });
    world.clearStorage();
    await world.run(2 * MINUTE);
    world.fate = () => ({});
    assert.equal(await world.until(tabs[0]!.client.refresh()), true);
    assert.equal(world.server.rotations, 1);
  });

  test(`${kind}: emptied, the end is told, once, in every tab`, async () => {
    for (const ending of ['cookies', 'server', 'logout'] as const) {
      const { world, tabs } = await signedIn(remember, 2);
      world.clearStorage();
      if (ending === 'cookies') world.jar.clear();
      if (ending === 'server') world.server.sessions.clear();
      if (ending === 'logout') await world.until(tabs[1]!.client.logout());
      else assert.equal(await world.until(tabs[0]!.client.me()), null);
      await world.run(2 * MINUTE);
      const reason = { cookies: 'expired', server: 'ended', logout: 'logged_out' }[ending];
      assert.deepEqual(reasons(tabs), [[reason], [reason]]);
    }
  });

  test(`${kind}: emptied while nobody touches it: an idle browser session still ends, and is told`, async () => {
    const { world, tabs } = await signedIn(remember, 2);
    await world.run(10 * MINUTE);
    world.clearStorage();
    const rings = world.rings;
    await world.run(25 * MINUTE);
    assert.deepEqual(reasons(tabs), remember ? [[], []] : [['idle'], ['idle']]);
    assert.ok(world.rings - rings < 500, `${world.rings - rings} timers`);
  });

  test(`${kind}: a full storage keeps nobody from signing in, refreshing, and signing out, in every tab`, async () => {
    for (const isFullBefore of [true, false]) {
      const world = new World();
      const tabs = [world.tab(), world.tab()];
      if (!isFullBefore) await world.until(tabs[1]!.client.login({ username: 'eve', password: 'p', remember }));
      await world.run(100);
      world.isStorageFull = true;
      const { user } = await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p', remember }));
      assert.equal(user.username, 'ann');
      await world.run(100);
      if (!isFullBefore) assert.deepEqual(reasons(tabs), [[], ['replaced']]);
      assert.equal((await world.until(tabs[1]!.client.me()))?.user.username, 'ann');
      for (const { client } of tabs) {
        assert.equal(await world.until(client.refresh()), true);
        await world.run(10);
        assert.equal((await world.until(client.fetch('/own'))).status, 200);
      }
      for (let minute = 0; minute < 100; minute++) {
        tabs[minute % 2]!.touch();
        await world.run(MINUTE);
      }
      assert.equal(world.server.alarms, 0);
      assert.equal((await world.until(tabs[0]!.client.me()))?.user.username, 'ann');
      await world.until(tabs[0]!.client.logout());
      await world.run(100);
      assert.deepEqual(tabs.map(({ signedOut }) => signedOut.at(-1)), ['logged_out', 'logged_out']);
      // There is room again: what comes then is stored, and read.
      world.isStorageFull = false;
      await world.until(tabs[1]!.client.login({ username: 'ben', password: 'p', remember }));
      await world.run(100);
      assert.equal((await world.until(tabs[0]!.client.me()))?.user.username, 'ben');
      assert.equal(world.entry.user, 'id of ben');
    }
  });

  test(`${kind}: it fills up in the middle of a lost refresh: the key is still known`, async () => {
    const { world, tabs } = await signedIn(remember, 2);
    world.isStorageFull = true;
    world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
    await assert.rejects(world.until(tabs[0]!.client.refresh()), { code: 'network' });
    await world.run(5 * MINUTE);
    world.fate = () => ({});
    assert.equal(await world.until(tabs[1]!.client.refresh()), true, 'in another tab, too');
    assert.equal(world.server.rotations, 1);
    assert.equal(world.server.alarms, 0);
  });
}

const throwing = () => {
  throw new DOMException('no', 'SecurityError');
};
const STORAGES: Record<string, any> = {
  'it is null': null,
  'it is undefined': undefined,
  'it has no methods': {},
  'its methods are no functions': { getItem: 1, setItem: 'x' },
  'it throws when read': { getItem: throwing, setItem: () => {} },
  'it throws when written': { getItem: () => null, setItem: throwing },
  'it throws at everything': { getItem: throwing, setItem: throwing },
  'it forgets everything': { getItem: () => null, setItem: () => {} },
  'it answers with something else': { getItem: () => ({}), setItem: () => {} },
  'it answers undefined': { getItem: () => undefined, setItem: () => {} },
  'it holds rubbish': { getItem: () => '[1,', setItem: () => {} },
  'it holds JSON of another': { getItem: () => '"x"', setItem: () => {} },
};

for (const [what, storage] of Object.entries(STORAGES)) {
  test(`storage: ${what}: one tab works`, async () => {
    const world = new World();
    const tab = world.tab({ platform: { storage, locks: processLocks() } });
    assert.equal(await world.until(tab.client.me()), null);
    await world.until(tab.client.login({ username: 'ann', password: 'p' }));
    for (let minute = 0; minute < 70; minute++) {
      tab.touch();
      await world.run(MINUTE);
    }
    assert.equal((await world.until(tab.client.me()))?.user.username, 'ann');
    assert.ok(world.server.rotations >= 2 && world.server.rotations <= 4, `${world.server.rotations} rotations`);
    assert.deepEqual(tab.signedOut, []);
    await world.run(31 * MINUTE);
    assert.deepEqual(tab.signedOut, ['idle']);
  });
}

test('localStorage whose getter throws, and one that is no storage, are none', () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage');
  try {
    for (const descriptor of [{ get: throwing }, { value: null }, { value: {} }, { value: 'text' }, { value: undefined }]) {
      Object.defineProperty(globalThis, 'localStorage', { ...descriptor, configurable: true });
      createClient({ api: 'https://api.test' }).close();
    }
  } finally {
    if (before) Object.defineProperty(globalThis, 'localStorage', before);
    else delete (globalThis as any).localStorage;
  }
});

test('a BroadcastChannel that throws, when made or when used, is none', async () => {
  const silent = { onmessage: null, close: throwing, postMessage: throwing };
  for (const channel of [throwing, () => silent, () => undefined as any]) {
    const world = new World();
    const tab = world.tab({ platform: { channel } });
    const other = world.tab();
    await world.until(tab.client.login({ username: 'ann', password: 'p' }));
    assert.equal(await world.until(tab.client.refresh()), true);
    await world.run(100);
    await world.until(tab.client.logout());
    await world.run(100);
    assert.deepEqual(reasons([tab, other]), [['logged_out'], ['logged_out']], 'by way of the storage');
    tab.client.close();
  }
});

test("an app's store that was emptied is an end, and is told", async () => {
  const world = new World();
  const store = new Keychain();
  const tab = world.tab({ store, platform: { channel: undefined, storage: undefined, listen: () => () => {} } });
  await world.until(tab.client.login({ username: 'ann', password: 'p' }));
  store.text = null;
  const rings = world.rings;
  for (let minute = 0; minute < 20; minute++) {
    tab.client.active();
    await world.run(MINUTE);
  }
  assert.deepEqual(tab.signedOut, ['expired']);
  assert.ok(world.rings - rings < 50, `${world.rings - rings} timers`);
});

test('a server that answers nothing useful is asked with pauses', async () => {
  for (const status of [401, 403, 404, 500]) {
    const { world, tabs } = await signedIn(false, 1);
    world.server.log.length = 0;
    world.server.intercept = () => ({ status, body: { message: 'no' }, setCookies: new Map() });
    // The date jumps: the tab has to ask.
    world.dateError = 60 * MINUTE;
    for (let minute = 0; minute < 20; minute++) {
      tabs[0]!.touch();
      await world.run(MINUTE);
    }
    assert.deepEqual(tabs[0]!.signedOut, []);
    assert.ok(world.server.log.length < 60, `${status}: ${world.server.log.length} requests in 20 minutes`);
    await assert.rejects(world.until(tabs[0]!.client.me()), { status });
  }
});

test('news that outruns what it is about: it is taken in once that can be read', async () => {
  for (const remember of [false, true]) {
    const world = new World();
    world.storingTakes = 50;
    const [tab, other] = [world.tab(), world.tab()];
    await world.until(tab.client.login({ username: 'ann', password: 'p', remember }));
    await world.run(200);
    assert.ok(other.client.refreshIn()! > 60_000, `${other.client.refreshIn()}`);
    await world.until(tab.client.refresh());
    await world.run(200);
    assert.ok(other.client.refreshIn()! > 60_000, `${other.client.refreshIn()}`);
  }
});
