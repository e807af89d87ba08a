/** Who is signed in: idleness, sleep, log-out, and several people on one browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, type Tab } from './world.js';

const MINUTE = 60_000;

async function signedIn(world: World, remember: boolean, count = 1): Promise<Tab[]> {
  const tabs = Array.from({ length: count }, () => world.tab());
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p', remember }));
  await world.run(100);
  return tabs;
}

/** Lets minutes pass; `person` says what happens in each. */
async function minutes(world: World, count: number, person: (minute: number) => void = () => {}) {
  for (let minute = 0; minute < count; minute++) {
    person(minute);
    await world.run(MINUTE);
  }
}

const reasons = (tabs: Tab[]) => tabs.map(({ signedOut }) => signedOut);

test('30 idle minutes sign out, not a minute earlier, in every tab, once, and on the server', async () => {
  const world = new World();
  const tabs = await signedIn(world, false, 3);
  await minutes(world, 40, () => tabs[1]!.touch());
  const start = world.time - MINUTE;
  await world.run(start + 30 * MINUTE - 2000 - world.time);
  assert.deepEqual(reasons(tabs), [[], [], []]);
  await world.run(4000);
  assert.deepEqual(reasons(tabs), [['idle'], ['idle'], ['idle']]);
  assert.equal(world.server.sessions.size, 0);
  assert.equal(world.jar.size, 0);
  assert.equal(world.server.count('POST /logout'), 1);
});

test('tabs that read what was stored a moment ago sign out once more, and tell it once', async () => {
  const world = new World();
  world.storingTakes = 5;
  const tabs = await signedIn(world, false, 3);
  await world.run(30 * MINUTE);
  assert.deepEqual(reasons(tabs), [['idle'], ['idle'], ['idle']]);
  assert.equal(world.server.sessions.size, 0);
  assert.equal(world.jar.size, 0);
  const logouts = world.server.count('POST /logout');
  assert.ok(logouts > 1 && logouts <= 3, `${logouts} log-outs`);
});

test('an active person stays signed in until the session has its last day, whatever the date says', async () => {
  const world = new World();
  const tabs = await signedIn(world, false, 2);
  await minutes(world, 24 * 60 - 2, (minute) => {
    tabs[minute % 2]!.touch();
    if (minute % 60 === 7) world.dateError = (((minute * 7919) % 20_000) - 10_000) * MINUTE;
  });
  assert.deepEqual(reasons(tabs), [[], []]);
  await minutes(world, 4, () => tabs[0]!.touch());
  assert.deepEqual(reasons(tabs), [['expired'], ['expired']]);
  // Every 22 to 27 minutes; setting the date makes a tab ask, not refresh.
  assert.ok(world.server.rotations < 75, `${world.server.rotations} rotations`);
});

test('a remembered person who does nothing is not signed out, and costs nothing', async () => {
  const world = new World();
  const tabs = await signedIn(world, true, 2);
  world.server.log.length = 0;
  await minutes(world, 48 * 60);
  assert.deepEqual(world.server.log, []);
  assert.deepEqual(reasons(tabs), [[], []]);
  tabs[1]!.touch();
  assert.equal((await world.until(tabs[1]!.client.me()))?.session.kind, 'remembered');
  assert.equal(world.server.count('POST /refresh'), 1);
});

test('a remembered session reaches its last day without a storm of refreshes', async () => {
  const world = new World({
    browserIdle: 1800,
    browserAbsolute: 86_400,
    access: 900,
    appIdle: 7200,
    appAbsolute: 7200,
  });
  const tabs = await signedIn(world, true);
  await minutes(world, 100, () => tabs[0]!.touch());
  const { rotations } = world.server;
  for (let second = 0; second < 20 * 60 - 2; second++) {
    tabs[0]!.touch();
    await world.run(1000);
  }
  assert.deepEqual(reasons(tabs), [[]]);
  assert.ok(world.server.rotations - rotations <= 3, `${world.server.rotations - rotations} rotations`);
  await minutes(world, 2, () => tabs[0]!.touch());
  assert.deepEqual(reasons(tabs), [['ended']]);
});

for (const order of ['first', 'last'] as const)
  test(`a tab that was frozen (timers run ${order}) does not sign out who is active in another`, async () => {
    const world = new World();
    const tabs = await signedIn(world, false, 2);
    tabs[1]!.show(false);
    await world.run(MINUTE);
    tabs[1]!.isFrozen = true;
    await minutes(world, 32, () => tabs[0]!.touch());
    tabs[1]!.thaw(order);
    await world.run(MINUTE);
    assert.deepEqual(reasons(tabs), [[], []]);
    // What it heard late is not taken for new: seen again, it asks.
    tabs[0]!.kill();
    tabs[1]!.show(true);
    await minutes(world, 120, () => tabs[1]!.touch());
    assert.deepEqual(tabs[1]!.signedOut, []);
  });

test('a hidden tab keeps the session of a person who was active a while ago', async () => {
  const world = new World();
  const [tab] = await signedIn(world, false);
  await minutes(world, 10, () => tab!.touch());
  tab!.show(false);
  await minutes(world, 25);
  tab!.show(true);
  await minutes(world, 20, () => tab!.touch());
  assert.deepEqual(tab!.signedOut, []);
});

for (const clockGoesOn of [true, false]) {
  const clock = `the monotonic clock ${clockGoesOn ? 'goes on' : 'stands still'}`;

  test(`asleep past the session's end (${clock}): signed out soon after waking, without a touch`, async () => {
    const world = new World();
    const tabs = await signedIn(world, false, 2);
    await minutes(world, 5, () => tabs[0]!.touch());
    world.sleep(8 * 60 * MINUTE, clockGoesOn);
    await world.run(2 * MINUTE);
    const reason = clockGoesOn ? 'idle' : 'expired';
    assert.deepEqual(reasons(tabs), [[reason], [reason]]);
    assert.equal(await world.until(tabs[1]!.client.me()), null);
  });

  test(`asleep past the access token's end, remembered (${clock}): signed in`, async () => {
    const world = new World();
    const tabs = await signedIn(world, true, 2);
    world.sleep(8 * 60 * MINUTE, clockGoesOn);
    const answers = await world.until(Promise.all(tabs.map(({ client }) => client.fetch('/own'))));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    assert.equal(world.server.rotations, 1);
    assert.deepEqual(reasons(tabs), [[], []]);
  });

  test(`a nap within the session's life (${clock}): signed in, and the timer knows better than its clock`, async () => {
    const world = new World();
    const tabs = await signedIn(world, false, 2);
    await minutes(world, 5, () => tabs[0]!.touch());
    world.sleep(20 * MINUTE, clockGoesOn);
    await minutes(world, 120, () => tabs[0]!.touch());
    assert.deepEqual(reasons(tabs), [[], []]);
  });
}

test('log-out ends it in every tab, once; a second is no error', async () => {
  const world = new World();
  const tabs = await signedIn(world, true, 3);
  await world.until(tabs[2]!.client.logout());
  await world.run(100);
  assert.deepEqual(reasons(tabs), [['logged_out'], ['logged_out'], ['logged_out']]);
  assert.equal(world.jar.size, 0);
  await world.until(tabs[0]!.client.logout());
  assert.equal(await world.until(tabs[0]!.client.me()), null);
  await minutes(world, 60, () => tabs.forEach((tab) => tab.touch()));
  assert.deepEqual(reasons(tabs), [['logged_out'], ['logged_out'], ['logged_out']]);
});

test('a log-out that the server did not hear of is none', async () => {
  const world = new World();
  const tabs = await signedIn(world, true, 2);
  world.online = false;
  await assert.rejects(world.until(tabs[0]!.client.logout()), { code: 'network' });
  world.online = true;
  assert.deepEqual(reasons(tabs), [[], []]);
  assert.ok(await world.until(tabs[0]!.client.me()));
});

test('an idle sign-out that the server did not hear of is made up for before anybody is shown', async () => {
  const world = new World();
  const tabs = await signedIn(world, false);
  await minutes(world, 10, () => tabs[0]!.touch());
  await world.run(14 * MINUTE);
  world.fate = ({ path }) => (path === '/logout' ? { loses: 'request', fails: true } : {});
  await minutes(world, 20);
  assert.deepEqual(reasons(tabs), [['idle']]);
  assert.equal(world.server.sessions.size, 1);
  world.fate = () => ({});
  assert.equal(await world.until(world.tab().client.me()), null);
  assert.equal(world.server.sessions.size, 0);
  assert.equal(world.jar.size, 0);
});

test('two people on one browser: the tabs of the first are told, and never act for the second', async () => {
  for (const remember of [false, true]) {
    const world = new World();
    const [mine, yours] = await signedIn(world, remember, 2);
    await world.until(yours!.client.login({ username: 'ben', password: 'p', remember }));
    // Before any news arrives:
    const sent: number[] = [];
    world.fate = ({ cookies }) => {
      sent.push(cookies.size);
      return {};
    };
    const response = await world.until(mine!.client.fetch('/own'));
    assert.equal(response.status, 403);
    assert.deepEqual(sent, [0], 'no cookie went along');
    assert.deepEqual(reasons([mine!, yours!]), [['replaced'], []]);
    world.fate = () => ({});
    assert.equal((await world.until(yours!.client.me()))?.user.username, 'ben');
    // What becomes of the second is not the first one's business…
    await world.until(yours!.client.logout());
    await world.run(100);
    assert.deepEqual(reasons([mine!, yours!]), [['replaced'], ['logged_out']]);
    await world.until(yours!.client.login({ username: 'ben', password: 'p', remember }));
    await world.run(100);
    // …but told to, the tab takes up whoever is here.
    assert.equal((await world.until(mine!.client.me()))?.user.username, 'ben');
    assert.equal(world.server.sessions.size, 1);
  }
});

test('a request that waits while somebody else signs in goes out as nobody', async () => {
  const world = new World();
  const [mine, yours] = await signedIn(world, false, 2);
  world.fate = ({ path }) => (path === '/login' ? { back: 3000 } : {});
  const login = yours!.client.login({ username: 'ben', password: 'p' });
  await world.run(100);
  const request = mine!.client.fetch('/own');
  await world.run(2000);
  assert.equal(world.server.count('GET /own'), 0, 'it waits');
  await world.until(login);
  assert.equal((await world.until(request)).status, 403);
  assert.deepEqual(mine!.signedOut, ['replaced']);
});

test('the same person again, in another tab: nobody is disturbed', async () => {
  const world = new World();
  const tabs = await signedIn(world, false, 2);
  await world.until(tabs[1]!.client.login({ username: 'ann', password: 'p', remember: true }));
  await world.run(100);
  assert.equal((await world.until(tabs[0]!.client.fetch('/own'))).status, 200);
  assert.equal((await world.until(tabs[0]!.client.me()))?.session.kind, 'remembered');
  assert.deepEqual(reasons(tabs), [[], []]);
});

test("somebody signs in by the mailed link: the other's tab shows nobody", async () => {
  const world = new World();
  const [mine] = await signedIn(world, false);
  world.setCookies(
    world.server.signIn({
      method: 'POST',
      path: '/verify',
      body: { username: 'ben' },
      headers: new Map(),
      cookies: world.cookies(),
    }),
  );
  assert.equal(await world.until(mine!.client.me()), null);
  assert.deepEqual(mine!.signedOut, ['replaced']);
  assert.equal((await world.until(mine!.client.me()))?.user.username, 'ben');
});

test('the same, noticed by a refresh', async () => {
  const world = new World();
  const [mine] = await signedIn(world, false);
  world.setCookies(
    world.server.signIn({
      method: 'POST',
      path: '/verify',
      body: { username: 'ben' },
      headers: new Map(),
      cookies: world.cookies(),
    }),
  );
  assert.equal(await world.until(mine!.client.refresh()), false);
  assert.deepEqual(mine!.signedOut, ['replaced']);
  const other = world.tab();
  assert.equal((await world.until(other.client.me()))?.user.username, 'ben');
});

test('signed out, then in again in the same tab: told of each end', async () => {
  const world = new World();
  const [tab] = await signedIn(world, false);
  for (let round = 1; round <= 3; round++) {
    await world.until(tab!.client.logout());
    await world.run(10);
    assert.equal(tab!.signedOut.length, round);
    await world.until(tab!.client.login({ username: round % 2 ? 'ben' : 'ann', password: 'p' }));
    assert.ok(await world.until(tab!.client.me()));
  }
});

test('a closed client does nothing more', async () => {
  const world = new World();
  const [tab] = await signedIn(world, false);
  tab!.client.close();
  world.server.log.length = 0;
  await minutes(world, 60, () => tab!.touch());
  assert.deepEqual(world.server.log, []);
  assert.deepEqual(tab!.signedOut, []);
  assert.equal(world.server.sessions.size, 1);
});

test('a repeated answer brings a shorter token, and an active person stays signed in', async () => {
  const world = new World();
  const tabs = await signedIn(world, false, 2);
  await minutes(world, 20, () => tabs[0]!.touch());
  world.fate = ({ path }) => (path === '/refresh' ? { loses: 'answer', fails: true } : {});
  await assert.rejects(world.until(tabs[0]!.client.refresh()), { code: 'network' });
  await minutes(world, 9, () => tabs[0]!.touch());
  world.fate = () => ({});
  await minutes(world, 180, () => tabs[0]!.touch());
  assert.deepEqual(reasons(tabs), [[], []]);
});

test('somebody signs in while another tab takes up what it found: the newer one stays', async () => {
  const world = new World();
  const eve = { method: 'POST', path: '/verify', body: { username: 'eve' }, headers: new Map(), cookies: new Map() };
  world.setCookies(world.server.signIn(eve));
  const [one, two] = [world.tab(), world.tab()];
  const me = one.client.me();
  await world.run(10);
  const login = two.client.login({ username: 'ben', password: 'p' });
  await world.until(Promise.all([me, login]));
  assert.equal((await me)?.user.username, 'ben');
  assert.equal(world.entry.user, 'id of ben');
  assert.deepEqual(reasons([one, two]), [[], []]);
});

test('who comes back at the last moment stays', async () => {
  const world = new World();
  const [tab] = await signedIn(world, false);
  await minutes(world, 10, () => tab!.touch());
  const lastTouch = world.time - MINUTE;
  await world.run(lastTouch + 30 * MINUTE - 5000 - world.time);
  // The sign-out has to wait for a request that is in flight.
  world.fate = ({ path }) => (path === '/own' ? { back: 10_000 } : {});
  void tab!.client.fetch('/own');
  await world.run(8000);
  tab!.touch();
  await minutes(world, 5);
  assert.deepEqual(tab!.signedOut, []);
});

test('the server counts whole seconds: a token may live for almost one less than it says', async () => {
  for (let offset = 0; offset < 1000; offset += 100) {
    const world = new World({
      browserIdle: 4,
      browserAbsolute: 86_400,
      access: 900,
      appIdle: 2_592_000,
      appAbsolute: 15_552_000,
    });
    await world.run(offset);
    const [tab] = await signedIn(world, false);
    for (let tick = 0; tick < 600; tick++) {
      tab!.touch();
      await world.run(100);
    }
    assert.deepEqual(tab!.signedOut, [], `${offset}`);
  }
});

test('somebody signs in in another tab: one where nobody was is told, and may ask who', async () => {
  for (const how of ['login', 'link'] as const) {
    for (const [news, storage] of [[1, 0], [5000, 0], [1, 300]] as const) {
      const world = new World();
      world.newsTake = news;
      world.storingTakes = storage;
      const told: unknown[] = [];
      const waiting = world.tab({ onSignedIn: () => void waiting.client.me().then((who) => told.push(who?.user.username)) });
      assert.equal(await world.until(waiting.client.me()), null);
      const other = world.tab({ onSignedIn: () => told.push('its own doing') });
      if (how === 'link') {
        const ben = { method: 'POST', path: '/verify', body: { username: 'ben' }, headers: new Map(), cookies: new Map() };
        world.setCookies(world.server.signIn(ben));
        assert.equal((await world.until(other.client.me()))?.user.username, 'ben');
      } else {
        await world.until(other.client.login({ username: 'ben', password: 'p' }));
      }
      await world.run(6000);
      assert.deepEqual(told, ['ben']);
      await world.until(other.client.refresh());
      await world.run(6000);
      assert.deepEqual(told, ['ben'], 'once');
      // Signed out, and in again, by whomever: told again.
      await world.until(other.client.logout());
      await world.run(6000);
      assert.deepEqual(waiting.signedOut, ['logged_out']);
      await world.until(other.client.login({ username: 'ann', password: 'p', remember: true }));
      await world.run(6000);
      assert.deepEqual(told, ['ben', 'ann']);
    }
  }
});

test('who is signed in when the page loads is no news, nor who signs in in the same tab, nor who replaces somebody', async () => {
  const world = new World();
  let told = 0;
  const open = () => world.tab({ onSignedIn: () => told++ });
  const first = open();
  await world.until(first.client.login({ username: 'ann', password: 'p' }));
  const second = open();
  await world.run(MINUTE);
  second.touch();
  assert.equal((await world.until(second.client.me()))?.user.username, 'ann');
  await world.until(first.client.login({ username: 'ben', password: 'p' }));
  second.hear('pageshow');
  await world.run(MINUTE);
  assert.deepEqual(reasons([first, second]), [[], ['replaced']]);
  assert.equal(told, 0);
});
