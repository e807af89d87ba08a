/**
 * A tab that is suspended while it holds the lock: at any moment of anything it may be at, for any time, with its
 * requests arriving early or late. The other tabs wait for a bounded time, go on, and nobody is signed out or mixed up.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answer } from './server.js';
import { World, type Tab } from './world.js';

const MINUTE = 60_000;
type Act = (tab: Tab) => Promise<unknown>;

async function signedIn(remember: boolean, count: number): Promise<{ world: World; tabs: Tab[] }> {
  const world = new World();
  // Whoever is asked for the password gives it.
  const tabs = Array.from({ length: count }, () => world.tab({ onReauthenticate: () => 'p' }));
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p', remember }));
  await world.run(10);
  // From here on, an answer of `me` extends a browser session.
  if (!remember) {
    tabs[0]!.touch();
    await world.run(16 * MINUTE);
  }
  return { world, tabs };
}

/** How long it takes, and what comes of it. */
async function timed(world: World, promise: Promise<unknown>): Promise<{ took: number; value?: any; error?: any }> {
  const start = world.time;
  try {
    const value = await world.until(promise);
    return { took: world.time - start, value };
  } catch (error) {
    return { took: world.time - start, error };
  }
}

/** Whom each tab shows. One that is told that somebody else is here now shows nobody, until it asks again. */
async function who(world: World, tabs: Tab[]): Promise<(string | undefined)[]> {
  for (const { client } of tabs) await world.until(client.me());
  const users = [];
  for (const { client } of tabs) users.push((await world.until(client.me()))?.user.username);
  return users;
}

const ACTS: Record<string, Act> = {
  refresh: ({ client }) => client.refresh(),
  me: ({ client }) => client.me(),
  fetch: ({ client }) => client.fetch('/own'),
  reauthentication: ({ client }) => client.reauthenticate('p'),
  login: ({ client }) => client.login({ username: 'ann', password: 'p' }),
  "another's login": ({ client }) => client.login({ username: 'ben', password: 'p' }),
  logout: ({ client }) => client.logout(),
};

for (const [name, act] of Object.entries(ACTS)) {
  test(`suspended for ever in a ${name}: the others hear of it in time, and then work`, async () => {
    for (const remember of [false, true]) {
      const { world, tabs } = await signedIn(remember, 3);
      // Requests of the one are answered after it was suspended.
      world.fate = (_inbound, tab) => (tab === tabs[0] ? { back: 1000 } : {});
      act(tabs[0]!).catch(() => {});
      await world.run(50);
      tabs[0]!.isFrozen = true;
      const [one, two] = await Promise.all([
        timed(world, tabs[1]!.client.refresh()),
        timed(world, tabs[2]!.client.fetch('/own')),
      ]);
      for (const { took, error } of [one, two]) {
        assert.ok(took < 34_000, `${took} ms`);
        if (error) assert.equal(error.code, 'network');
      }
      await world.run(40_000);
      const users = await who(world, tabs.slice(1));
      assert.deepEqual(new Set(users).size, 1, users.join());
      if (users[0]) assert.equal(await world.until(tabs[2]!.client.refresh()), true);
      assert.equal(world.server.alarms, 0);
      assert.ok(world.takeovers <= 1, 'all go on with another lock, once');
    }
  });

  test(`suspended at any moment of a ${name}, for any time`, async () => {
    let takeovers = 0;
    for (const remember of [false, true])
      for (const fate of [{}, { back: 24_000 }, { there: 24_000 }, { loses: 'answer', fails: true }] as const)
        // Whether it has the lock from the beginning, or shortly before the one that waits behind it takes it over.
        for (const hasWaited of [false, true])
          for (const moment of [0, 15, 25, 45, 800])
            for (const time of [5000, 36_000, 64_000, 3 * MINUTE]) {
              const { world, tabs } = await signedIn(remember, 3);
              const [held, awake, slow] = tabs as [Tab, Tab, Tab];
              let isOver = false;
              world.fate = (_inbound, tab) => (isOver || tab === awake ? {} : tab === slow ? { back: 28_000 } : fate);
              if (hasWaited) void slow.client.fetch('/own');
              await world.run(1);
              const done = act(held).catch(() => {});
              await world.run(1);
              // A person goes on in the other tab.
              let step = 0;
              const goOn = async (milliseconds: number) => {
                for (const end = world.time + milliseconds; world.time < end; step++) {
                  (step % 3 ? awake.client.fetch('/own') : awake.client.refresh()).catch(() => {});
                  awake.touch();
                  await world.run(Math.min(4000, end - world.time));
                }
              };
              await goOn(moment + (hasWaited ? 28_020 : 0));
              held.isFrozen = true;
              await goOn(time);
              held.thaw(moment % 2 ? 'first' : 'last');
              await goOn(MINUTE);
              isOver = true;
              await world.until(done);
              await world.run(2 * MINUTE);
              const what = `${remember} ${JSON.stringify(fate)} ${hasWaited} ${moment} ${time}`;
              assert.equal(world.server.alarms, 0, what);
              // The server ends the session that a log-in came with, whether or not the answer arrives.
              const isStill = !['logout', "another's login"].includes(name) && !(name === 'login' && 'loses' in fate);
              if (isStill) assert.deepEqual(tabs.flatMap(({ signedOut }) => signedOut), [], what);
              const users = await who(world, tabs);
              assert.equal(new Set(users).size, 1, `${what}: ${users.join()}`);
              if (isStill) assert.equal(users[0], 'ann', what);
              if (users[0]) {
                for (const { client } of tabs) assert.equal(await world.until(client.refresh()), true, what);
                assert.equal(world.entry.user, `id of ${users[0]}`, what);
                const session = world.server.sessions.get(world.entry.id);
                assert.equal(world.generationInJar, session?.generation, what);
              }
              assert.equal(world.server.alarms, 0, what);
              takeovers += world.takeovers;
            }
    assert.ok(takeovers > 0, 'it happened');
  });
}

test('a refresh that was sent again just before: its late answer comes before anything newer', async () => {
  for (const remember of [false, true]) {
    const { world, tabs } = await signedIn(remember, 2);
    const [held, awake] = tabs as [Tab, Tab];
    let tries = 0;
    world.fate = ({ path }, tab) => {
      if (tab !== held || path !== '/refresh') return {};
      return ++tries < 3 ? { loses: 'request' } : { back: 24_900 };
    };
    void held.client.refresh();
    await world.run(10);
    const asked = awake.client.refresh().catch((error) => error.code);
    while (tries < 3) await world.run(100);
    held.isFrozen = true;
    assert.equal(await world.until(asked), 'network');
    for (let step = 0; step < 20; step++) {
      awake.client.refresh().catch(() => {});
      awake.touch();
      await world.run(5000);
    }
    assert.equal(world.takeovers, 1);
    assert.equal(world.server.alarms, 0);
    assert.equal(await world.until(awake.client.refresh()), true);
    assert.deepEqual(tabs.flatMap(({ signedOut }) => signedOut), []);
  }
});

test('its answer does not put away the key of who went on instead', async () => {
  const { world, tabs } = await signedIn(true, 2);
  const [held, awake] = tabs as [Tab, Tab];
  void held.client.refresh();
  await world.run(30);
  held.isFrozen = true;
  await world.run(MINUTE);
  assert.equal(world.generationInJar, 2, 'the browser has stored its cookies');
  awake.client.refresh().catch(() => {});
  await world.run(66_000);
  // The first key is used up by that answer; the refresh with the next has its answer lost.
  const first = world.entry.key;
  assert.ok(first);
  world.fate = ({ headers }) => (headers.get('idempotency-key') === first ? {} : { loses: 'answer' });
  void awake.client.refresh().catch(() => {});
  await world.run(5000);
  const { key } = world.entry;
  assert.ok(key && key !== first);
  held.thaw();
  await world.run(1000);
  assert.equal(world.entry.key, key);
  world.fate = () => ({});
  awake.kill();
  await world.run(1000);
  assert.equal(await world.until(held.client.refresh()), true);
  assert.equal(world.server.alarms, 0);
});

test('its log-in does not stand for who has signed in since', async () => {
  const { world, tabs } = await signedIn(true, 2);
  const [held, awake] = tabs as [Tab, Tab];
  const login = held.client.login({ username: 'eve', password: 'p' }).catch((error) => error.code);
  await world.run(30);
  held.isFrozen = true;
  awake.client.fetch('/own').catch(() => {});
  await world.run(70_000);
  await world.until(awake.client.login({ username: 'ben', password: 'p' }));
  held.thaw();
  assert.equal(await world.until(login), 'network');
  assert.equal(world.entry.user, 'id of ben');
  assert.deepEqual(await who(world, tabs), ['ben', 'ben']);
});

test('nor does its log-out', async () => {
  const { world, tabs } = await signedIn(true, 2);
  const [held, awake] = tabs as [Tab, Tab];
  const logout = held.client.logout().catch((error) => error.code);
  await world.run(30);
  held.isFrozen = true;
  awake.client.fetch('/own').catch(() => {});
  await world.run(70_000);
  await world.until(awake.client.login({ username: 'ben', password: 'p' }));
  held.thaw();
  assert.equal(await world.until(logout), 'network');
  assert.deepEqual(awake.signedOut, []);
  assert.deepEqual(await who(world, tabs), ['ben', 'ben']);
});

test('a queue that moves, however slowly, is not passed over', async () => {
  const { world, tabs } = await signedIn(true, 4);
  const [slow, next, last, waiting] = tabs as [Tab, Tab, Tab, Tab];
  world.fate = () => ({ back: 28_000 });
  void slow.client.fetch('/own');
  await world.run(1);
  const login = next.client.login({ username: 'ann', password: 'p' });
  await world.run(1);
  void last.client.login({ username: 'ann', password: 'p' }).catch(() => {});
  void waiting.client.fetch('/own').catch(() => {});
  assert.equal((await world.until(login)).user.username, 'ann');
  await world.run(2 * MINUTE);
  assert.equal(world.takeovers, 0);
});

test('whoever waits already when the others go on goes on with them', async () => {
  const { world, tabs } = await signedIn(true, 3);
  world.fate = (_inbound, tab) => (tab === tabs[0] ? { loses: 'answer' } : {});
  void tabs[0]!.client.refresh().catch(() => {});
  await world.run(30);
  tabs[0]!.isFrozen = true;
  tabs[1]!.client.fetch('/own').catch(() => {});
  await world.run(34_500);
  // In the tab that ends the waiting, and in another.
  const answers = await world.until(Promise.all([tabs[1]!, tabs[2]!].map(({ client }) => client.fetch('/own'))));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200],
  );
});

test('who waits with a short limit is told soon, and takes nothing from anybody', async () => {
  const world = new World();
  const tabs = [world.tab(), world.tab({ timeout: 2000 })];
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p' }));
  world.fate = () => ({ back: 12_000 });
  const slow = tabs[0]!.client.fetch('/own');
  await world.run(100);
  const { took, error } = await timed(world, tabs[1]!.client.refresh());
  assert.equal(error.code, 'network');
  assert.ok(took <= 2300, `${took} ms`);
  assert.equal((await world.until(slow)).status, 200);
  assert.equal(world.takeovers, 0);
});

test('nor does a log-out everywhere begin a refresh that is none any more', async () => {
  const { world, tabs } = await signedIn(true, 2);
  const [held, awake] = tabs as [Tab, Tab];
  // Its token is one behind, so that it has to refresh first.
  world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
  await world.until(held.client.refresh().catch(() => {}));
  world.fate = () => ({});
  const logout = held.client.logout({ everywhere: true }).catch((error) => error.code);
  await world.run(30);
  held.isFrozen = true;
  awake.client.fetch('/own').catch(() => {});
  await world.run(70_000);
  assert.equal(await world.until(awake.client.refresh()), true);
  const before = JSON.stringify(world.entry);
  held.thaw();
  assert.equal(await world.until(logout), 'network');
  assert.equal(JSON.stringify(world.entry), before);
  assert.deepEqual(await who(world, tabs), ['ann', 'ann']);
  assert.equal(world.server.alarms, 0);
});

for (const end of ['closed', 'suspended'] as const)
  test(`the one that began with another lock is ${end} before it has waited to the end: somebody else waits`, async () => {
    const { world, tabs } = await signedIn(true, 3);
    const [held, first, other] = tabs as [Tab, Tab, Tab];
    world.fate = (_inbound, tab) => (tab === held ? { back: 25_000 } : {});
    void held.client.refresh();
    await world.run(30);
    held.isFrozen = true;
    first.client.refresh().catch(() => {});
    await world.run(36_000);
    assert.equal(world.takeovers, 1);
    const sent = world.server.log.length;
    other.client.refresh().catch(() => {});
    await world.run(1000);
    if (end === 'closed') first.kill();
    else first.isFrozen = true;
    await world.run(29_000);
    assert.equal(world.server.log.length, sent, 'nothing is sent too early');
    for (let tries = 0; tries < 3; tries++) await timed(world, other.client.refresh());
    assert.equal(await world.until(other.client.refresh()), true);
    assert.equal(world.server.alarms, 0);
    assert.deepEqual(other.signedOut, []);
  });

test('tabs that are suspended while they wait cost the others no more than one', async () => {
  const { world, tabs } = await signedIn(false, 8);
  world.fate = (_inbound, tab) => (tab === tabs[0] ? { loses: 'answer' } : {});
  void tabs[0]!.client.me().catch(() => {});
  await world.run(30);
  for (const tab of tabs.slice(1, 7)) {
    tab.client.refresh().catch(() => {});
    tab.client.fetch('/own').catch(() => {});
    await world.run(10);
    tab.isFrozen = true;
  }
  tabs[0]!.isFrozen = true;
  const awake = tabs[7]!;
  awake.client.refresh().catch(() => {});
  await world.run(66_000);
  const { took, value } = await timed(world, awake.client.refresh());
  assert.equal(value, true);
  assert.ok(took < 100, `${took} ms`);
  assert.equal(world.takeovers, 1);
  world.fate = () => ({});
  tabs.forEach((tab) => tab.isFrozen && tab.thaw());
  await world.run(2 * MINUTE);
  for (const { client } of tabs) assert.equal(await world.until(client.refresh()), true);
  assert.equal(world.server.alarms, 0);
  assert.deepEqual(tabs.flatMap(({ signedOut }) => signedOut), []);
});

test('many tabs that ask without end let one of them wait to its end', async () => {
  const { world, tabs } = await signedIn(false, 6);
  world.fate = (_inbound, tab) => (tab === tabs[0] ? { loses: 'answer' } : {});
  void tabs[0]!.client.me().catch(() => {});
  await world.run(50);
  tabs[0]!.isFrozen = true;
  for (let second = 0; second < 80; second++) {
    const tab = tabs[1 + (second % 5)]!;
    tab.client.refresh().catch(() => {});
    tab.client.fetch('/own').catch(() => {});
    await world.run(1000);
  }
  assert.equal(world.takeovers, 1);
  assert.equal((await world.until(tabs[3]!.client.fetch('/own'))).status, 200);
});

test('a lock that somebody keeps for ever: each call is told in time, for as long as it takes', async () => {
  const world = new World();
  const forever = { request: () => new Promise<never>(() => {}) };
  const tab = world.tab({ platform: { locks: forever }, timeout: 5000 });
  for (const call of [
    () => tab.client.login({ username: 'ann', password: 'p' }),
    () => tab.client.me(),
    () => tab.client.refresh(),
    () => tab.client.logout(),
    () => tab.client.fetch('/own'),
    () => tab.client.sessions(),
  ]) {
    const { took, error } = await timed(world, call());
    assert.equal(error?.code, 'network');
    assert.ok(took <= 5600, `${took} ms`);
  }
  assert.deepEqual(world.server.log, []);
});

test('a caller may abort what still waits', async () => {
  const { world, tabs } = await signedIn(true, 2);
  world.fate = (_inbound, tab) => (tab === tabs[0] ? { loses: 'answer' } : {});
  void tabs[0]!.client.refresh().catch(() => {});
  await world.run(30);
  tabs[0]!.isFrozen = true;
  const abort = new AbortController();
  const waiting = assert.rejects(tabs[1]!.client.fetch('/own', { signal: abort.signal }), { name: 'AbortError' });
  await world.run(1000);
  abort.abort();
  await world.until(waiting);
  assert.equal(world.server.count('GET /own'), 0);
});

test('a tab that is suspended while it waits gets the lock then, and sends nothing with what it had read', async () => {
  const { world, tabs } = await signedIn(false, 3);
  const [slow, held, awake] = tabs as [Tab, Tab, Tab];
  world.fate = (_inbound, tab) => (tab === slow ? { back: 10_000 } : {});
  void slow.client.fetch('/own');
  await world.run(30);
  const refresh = held.client.refresh().catch((error) => error.code);
  await world.run(1);
  held.isFrozen = true;
  awake.client.fetch('/own').catch(() => {});
  await world.run(80_000);
  assert.equal(world.takeovers, 1);
  assert.equal(await world.until(awake.client.refresh()), true);
  assert.equal(await world.until(awake.client.refresh()), true);
  held.thaw();
  await world.until(refresh);
  await world.run(MINUTE);
  assert.equal(world.server.alarms, 0);
  assert.equal(await world.until(held.client.refresh()), true);
  assert.deepEqual(tabs.flatMap(({ signedOut }) => signedOut), []);
});

test('an answer of the server that never ends does not keep the lock', async () => {
  const { world, tabs } = await signedIn(true, 2);
  world.server.intercept = ({ path }) => (path === '/own' ? answer(200) : undefined);
  world.fate = ({ path }) => (path === '/own' ? { loses: 'answer' } : {});
  void tabs[0]!.client.fetch('/own').catch(() => {});
  const { took, value } = await timed(world, tabs[1]!.client.refresh());
  assert.equal(value, true);
  assert.ok(took <= 31_000);
  assert.equal(world.takeovers, 0);
});

test('what waits in vain for long leaves nothing behind: no timer, no place in the queue', async () => {
  for (const isFull of [true, false]) {
    const { world, tabs } = await signedIn(true, 2);
    world.isStorageFull = isFull;
    world.fate = (_inbound, tab) => (tab === tabs[0] ? { loses: 'answer' } : {});
    void tabs[0]!.client.refresh().catch(() => {});
    await world.run(30);
    tabs[0]!.isFrozen = true;
    const abort = new AbortController();
    for (let call = 0; call < 10; call++) {
      tabs[1]!.client.fetch('/own', call % 2 ? { signal: abort.signal } : {}).catch(() => {});
      await world.run(100);
    }
    abort.abort();
    await world.run(3 * MINUTE);
    const { rings } = world;
    await world.run(MINUTE);
    assert.ok(world.rings - rings < 10, `${world.rings - rings} timers`);
    assert.equal(world.takeovers, isFull ? 0 : 1);
    const { error, value } = await timed(world, tabs[1]!.client.fetch('/own'));
    if (isFull) assert.equal(error.code, 'network');
    else assert.equal(value.status, 200);
  }
});
