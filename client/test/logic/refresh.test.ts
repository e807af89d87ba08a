/** One refresh at a time, and what becomes of it when the network, a tab or the server fails. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatchkeyError } from '../../src/latchkey.js';
import { answer, problem, type Inbound } from './server.js';
import { World, type Tab } from './world.js';

const MINUTE = 60_000;
type KindOfBrowser = 'browser' | 'remembered';
const KINDS: KindOfBrowser[] = ['browser', 'remembered'];

async function signedIn(world: World, kind: KindOfBrowser = 'browser', tabs = 1): Promise<Tab[]> {
  const all = Array.from({ length: tabs }, () => world.tab());
  await world.until(all[0]!.client.login({ username: 'ann', password: 'p', remember: kind === 'remembered' }));
  await world.run(10);
  return all;
}

const isRefresh = ({ path }: Inbound) => path === '/refresh';

/** Does it to the first so many refreshes. */
function first<T>(times: number, fate: T): (inbound: Inbound) => T | {} {
  return (inbound) => (isRefresh(inbound) && times-- > 0 ? fate : {});
}

function assertSignedIn(world: World, tabs: Tab[]) {
  assert.deepEqual(
    tabs.flatMap(({ signedOut }) => signedOut),
    [],
  );
  assert.equal(world.server.alarms, 0);
  assert.equal(world.entry.out, undefined);
  assert.equal(world.entry.key, undefined, 'the key is cleared with the answer');
  const [session] = world.server.sessions.values();
  assert.equal(world.generationInJar, session?.generation, 'the jar holds the current token');
}

for (const kind of KINDS) {
  test(`${kind}: the key is stored before it is sent and cleared with the answer, a new one each time`, async () => {
    const world = new World();
    const [tab] = await signedIn(world, kind);
    const keys: string[] = [];
    world.fate = (inbound) => {
      const key = inbound.headers.get('idempotency-key');
      assert.equal(world.entry.key, key);
      assert.match(key!, /^[!-+\--~]{22,255}$/);
      keys.push(key!);
      return {};
    };
    for (let refresh = 0; refresh < 3; refresh++) assert.equal(await world.until(tab!.client.refresh()), true);
    assert.equal(new Set(keys).size, 3);
    assertSignedIn(world, [tab!]);
  });

  for (const loses of ['request', 'answer'] as const) {
    for (const fails of [true, false]) {
      test(`${kind}: a lost ${loses} (${fails ? 'fails' : 'hangs'}) is repeated with its key`, async () => {
        const world = new World();
        const tabs = await signedIn(world, kind);
        const keys = new Set<string>();
        const lose = first(2, { loses, fails });
        world.fate = (inbound) => {
          if (isRefresh(inbound)) keys.add(inbound.headers.get('idempotency-key')!);
          return lose(inbound);
        };
        assert.equal(await world.until(tabs[0]!.client.refresh()), true);
        assert.equal(keys.size, 1);
        assert.equal(world.server.rotations, 1);
        assertSignedIn(world, tabs);
      });
    }
  }

  test(`${kind}: when all tries are lost the fault is told, the key is kept, and much later it repeats`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind);
    world.fate = first(3, { loses: 'answer', fails: true });
    await assert.rejects(world.until(tabs[0]!.client.refresh()), { code: 'network' });
    const { key } = world.entry;
    assert.ok(key);
    await world.run(10 * MINUTE);
    assert.equal(await world.until(tabs[0]!.client.refresh()), true);
    assert.equal(world.server.rotations, 1);
    assertSignedIn(world, tabs);
  });

  test(`${kind}: a tab killed between the answer and its storing`, async () => {
    const world = new World();
    const [killed, other] = await signedIn(world, kind, 2);
    killed!.diesAt = 'store';
    void killed!.client.refresh();
    await world.run(1000);
    assert.equal(killed!.isAlive, false);
    assert.ok(world.entry.key, 'the answered key is in the store still');
    assert.equal(world.generationInJar, 2, 'the browser has the new cookies');
    // The server refuses the key, as it is the one of the rotation before, and a fresh one is taken.
    assert.equal(await world.until(other!.client.refresh()), true);
    assert.equal(world.server.count('POST /refresh invalid_request'), 1);
    assertSignedIn(world, [other!]);
  });

  test(`${kind}: a tab killed while its request is on its way`, async () => {
    const world = new World();
    const [killed, other] = await signedIn(world, kind, 2);
    void killed!.client.refresh();
    await world.run(30);
    killed!.kill();
    await world.run(1000);
    assert.equal(world.generationInJar, 1, 'nobody was there to take the answer');
    assert.equal(await world.until(other!.client.refresh()), true);
    assert.equal(world.server.rotations, 1);
    assertSignedIn(world, [other!]);
  });

  test(`${kind}: a 503 or 429 is tried again with the same key, whoever answers it`, async () => {
    for (const fault of [problem(503, 'unavailable'), answer(503, { message: 'Service Unavailable' }), answer(429)]) {
      const world = new World();
      const tabs = await signedIn(world, kind);
      let faults = 2;
      world.server.intercept = (inbound) => (isRefresh(inbound) && faults-- > 0 ? fault : undefined);
      assert.equal(await world.until(tabs[0]!.client.refresh()), true);
      assert.equal(world.server.rotations, 1);
      assertSignedIn(world, tabs);
    }
  });

  test(`${kind}: a fault that stays is told by its code, and signs nobody out`, async () => {
    const faults = [
      [problem(503, 'unavailable'), 'unavailable'],
      [problem(500, 'internal'), 'internal'],
      [answer(403, { message: 'Forbidden' }), 'forbidden'],
      [answer(404, { message: 'Not Found' }), 'not_found'],
      [answer(429, { message: 'Too Many Requests' }), 'rate_limited'],
      [answer(401, { message: 'Unauthorized' }), 'unauthorized'],
      [answer(413, { message: 'Request Entity Too Large' }), 'body_too_large'],
      [problem(403, 'csrf_rejected'), 'csrf_rejected'],
      [answer(504, { message: 'Endpoint request timed out' }), 'unavailable'],
      [answer(418), 'unexpected'],
      [answer(200, { hello: 'captive portal' }), 'unexpected'],
      [answer(200), 'network'],
    ] as const;
    for (const [fault, code] of faults) {
      const world = new World();
      const tabs = await signedIn(world, kind);
      world.server.intercept = (inbound) => (isRefresh(inbound) ? fault : undefined);
      await assert.rejects(world.until(tabs[0]!.client.refresh()), (error) => {
        assert.ok(error instanceof LatchkeyError);
        assert.equal(error.code, code);
        return true;
      });
      world.server.intercept = () => undefined;
      assert.equal(await world.until(tabs[0]!.client.refresh()), true);
      assertSignedIn(world, tabs);
    }
  });

  test(`${kind}: eight tabs refresh together, once`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind, 8);
    const all = await world.until(Promise.all(tabs.map(({ client }) => client.refresh())));
    assert.deepEqual(all, Array(8).fill(true));
    assert.equal(world.server.rotations, 1);
    assertSignedIn(world, tabs);
  });

  for (const storingTakes of [5, 100]) {
    test(`${kind}: tabs that read what was stored ${storingTakes} ms ago ask once more, and lose nothing`, async () => {
      const world = new World();
      world.storingTakes = storingTakes;
      const tabs = await signedIn(world, kind, 4);
      await world.run(1000);
      for (let time = 0; time < 3; time++) {
        const all = await world.until(Promise.all(tabs.map(({ client }) => client.refresh())));
        assert.deepEqual(all, [true, true, true, true]);
        await world.run(1000);
        assertSignedIn(world, tabs);
      }
      assert.ok(world.server.count('POST /refresh') > 3, 'it happened');
    });
  }

  test(`${kind}: eight tabs meet an ended token together: one refresh, eight answers`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind, 8);
    world.jar.delete('access');
    if (kind === 'browser') return;
    const answers = await world.until(Promise.all(tabs.map(({ client }) => client.fetch('/own'))));
    assert.deepEqual(
      answers.map(({ status }) => status),
      Array(8).fill(200),
    );
    assert.equal(world.server.rotations, 1);
    assertSignedIn(world, tabs);
  });

  test(`${kind}: eight tabs' timers make one refresh of each token`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind, 8);
    const life = kind === 'browser' ? 30 : 15;
    for (let minute = 0; minute < 3 * life; minute++) {
      tabs.forEach((tab) => tab.touch());
      await world.run(MINUTE);
    }
    assert.ok(world.server.rotations >= 3 && world.server.rotations <= 4, `${world.server.rotations} rotations`);
    assertSignedIn(world, tabs);
  });

  test(`${kind}: a late duplicate: it waits, and looks again`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind);
    let times = 1;
    world.server.intercept = (inbound) =>
      isRefresh(inbound) && times-- > 0 ? problem(409, 'duplicate_request') : undefined;
    assert.equal(await world.until(tabs[0]!.client.refresh()), true);
    assertSignedIn(world, tabs);
  });

  test(`${kind}: a copied request that arrives late changes nothing`, async () => {
    const world = new World();
    const tabs = await signedIn(world, kind);
    world.fate = () => ({ copyAfter: 25_000 });
    for (let refresh = 0; refresh < 3; refresh++) {
      assert.equal(await world.until(tabs[0]!.client.refresh()), true);
      await world.run(20_000);
    }
    await world.run(MINUTE);
    assertSignedIn(world, tabs);
  });

  test(`${kind}: offline for hours, then back`, async () => {
    const world = new World({
      browserIdle: 36_000,
      browserAbsolute: 86_400,
      access: 900,
      appIdle: 36_000,
      appAbsolute: 86_400,
    });
    const tabs = await signedIn(world, kind, 2);
    world.online = false;
    for (let minute = 0; minute < 180; minute++) {
      tabs[0]!.touch();
      await world.run(MINUTE);
    }
    await assert.rejects(world.until(tabs[0]!.client.me()), { code: 'network', status: 0 });
    assert.deepEqual(
      tabs.map(({ signedOut }) => signedOut),
      [[], []],
    );
    world.online = true;
    world.dispatch('online');
    assert.equal((await world.until(tabs[1]!.client.me()))?.user.username, 'ann');
    await world.run(MINUTE);
    assertSignedIn(world, tabs);
  });
}

test('a tab whose timer runs before the news arrives does not refresh again', async () => {
  const world = new World();
  const tabs = Array.from({ length: 4 }, (_, index) => world.tab({ platform: { random: () => 0.5 + index / 500 } }));
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p' }));
  await world.run(20 * MINUTE);
  tabs.forEach((tab) => tab.touch());
  world.newsTake = 5000;
  await world.run(8 * MINUTE);
  assert.equal(world.server.rotations, 1);
  assertSignedIn(world, tabs);
});

test('online again, a refresh that is due is not waited for', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'remembered', 1);
  world.online = false;
  for (let minute = 0; minute < 20; minute++) {
    tabs[0]!.touch();
    await world.run(MINUTE);
  }
  world.online = true;
  world.dispatch('online');
  await world.run(500);
  assert.equal(world.server.rotations, 1);
  assertSignedIn(world, tabs);
});

test('an answer of sliding renewal never overtakes a refresh into the jar', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'browser', 2);
  await world.run(16 * MINUTE);
  // Its new cookie, of generation 1, is long on its way; a refresh begins meanwhile.
  world.fate = ({ path }) => (path === '/me' ? { back: 15_000 } : {});
  const me = tabs[0]!.client.me();
  await world.run(100);
  const refresh = tabs[1]!.client.refresh();
  await world.until(Promise.all([me, refresh]));
  assert.equal(world.generationInJar, 2);
  await world.run(11_000);
  assert.equal(await world.until(tabs[0]!.client.refresh()), true);
  assertSignedIn(world, tabs);
});

test('nor does one that came after its time was up: it was aborted', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'browser', 2);
  await world.run(16 * MINUTE);
  world.fate = ({ path }) => (path === '/me' ? { back: 40_000 } : {});
  const me = assert.rejects(tabs[0]!.client.me(), { code: 'network' });
  await world.run(100);
  assert.equal(await world.until(tabs[1]!.client.refresh()), true);
  await world.until(me);
  await world.run(MINUTE);
  assert.equal(world.generationInJar, 2);
  assert.equal(await world.until(tabs[0]!.client.refresh()), true);
  assertSignedIn(world, tabs);
});

test('a request that hangs holds up a refresh only until its time is up', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'browser', 2);
  world.fate = ({ path }) => (path === '/own' ? { loses: 'answer' } : {});
  const hung = assert.rejects(tabs[0]!.client.fetch('/own'));
  await world.run(10);
  const before = world.time;
  assert.equal(await world.until(tabs[1]!.client.refresh()), true);
  assert.ok(world.time - before < 31_000);
  await world.until(hung);
  assertSignedIn(world, tabs);
});

test('a stream of requests does not starve a refresh', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'browser', 4);
  let isBusy = true;
  for (const { client } of tabs) {
    void (async () => {
      while (isBusy) await client.fetch('/own');
    })();
  }
  await world.run(500);
  const before = world.time;
  assert.equal(await world.until(tabs[0]!.client.refresh()), true);
  assert.ok(world.time - before <= 200);
  isBusy = false;
});

test('a refused refresh signs every tab out, once, and says why', async () => {
  const reasons = {
    token_missing: 'expired',
    token_expired: 'expired',
    token_invalid: 'ended',
    session_ended: 'ended',
    token_reused: 'reused',
  };
  for (const [code, reason] of Object.entries(reasons)) {
    const world = new World();
    const tabs = await signedIn(world, 'remembered', 3);
    world.server.intercept = (inbound) => (isRefresh(inbound) ? problem(401, code) : undefined);
    assert.deepEqual(await world.until(Promise.all(tabs.map(({ client }) => client.refresh()))), [false, false, false]);
    await world.run(100);
    assert.deepEqual(
      tabs.map(({ signedOut }) => signedOut),
      [[reason], [reason], [reason]],
    );
    assert.equal(await world.until(tabs[0]!.client.refresh()), false);
    assert.equal(world.server.count('POST /refresh'), 1, 'nobody asks again');
  }
});

test('a tab that missed the news learns it from the store', async () => {
  const world = new World();
  const tabs = await signedIn(world, 'browser', 2);
  tabs[1]!.onmessage = undefined;
  tabs[1]!.isFrozen = true;
  await world.until(tabs[0]!.client.logout());
  await world.run(1000);
  assert.deepEqual(tabs[1]!.signedOut, []);
  tabs[1]!.thaw();
  tabs[1]!.hear('pageshow');
  await world.run(100);
  assert.deepEqual(tabs[1]!.signedOut, ['logged_out']);
});

test('theft of the cookie jar is noticed by whoever refreshes second', async () => {
  for (const kind of KINDS) {
    for (const isThiefFirst of [true, false]) {
      const world = new World();
      const tabs = await signedIn(world, kind, 2);
      const stolen = world.cookies();
      const thief = () =>
        world.server.handle({
          method: 'POST',
          path: '/refresh',
          body: undefined,
          cookies: stolen,
          headers: new Map([['idempotency-key', 'the-thief-has-a-key-of-its-own']]),
        });
      if (isThiefFirst) {
        assert.equal(thief().status, 200);
        assert.equal(await world.until(tabs[0]!.client.refresh()), false);
        await world.run(100);
        assert.deepEqual(
          tabs.map(({ signedOut }) => signedOut),
          [['reused'], ['reused']],
        );
      } else {
        assert.equal(await world.until(tabs[0]!.client.refresh()), true);
        assert.equal(thief().body.code, 'token_reused');
        assert.equal(await world.until(tabs[0]!.client.me()), null);
        await world.run(100);
        assert.deepEqual(
          tabs.map(({ signedOut }) => signedOut),
          [['ended'], ['ended']],
        );
      }
      assert.equal(world.server.alarms, 1);
      assert.equal(world.server.sessions.size, 0);
    }
  }
});

test('the pending key of one session is not sent for the next', async () => {
  const world = new World();
  const [tab] = await signedIn(world, 'remembered');
  world.fate = (inbound) => (isRefresh(inbound) ? { loses: 'request', fails: true } : {});
  await assert.rejects(world.until(tab!.client.refresh()), { code: 'network' });
  const { key } = world.entry;
  world.fate = () => ({});
  await world.until(tab!.client.login({ username: 'ben', password: 'p', remember: true }));
  assert.ok(key);
  assert.equal(world.entry.key, undefined);
});

test('a late copy of a request that was refused for its key ends nothing', async () => {
  const world = new World();
  const [killed, other] = await signedIn(world, 'remembered', 2);
  killed!.diesAt = 'store';
  void killed!.client.refresh();
  await world.run(1000);
  let copies = 1;
  world.fate = (inbound) => (isRefresh(inbound) && copies-- > 0 ? { copyAfter: 5000 } : {});
  assert.equal(await world.until(other!.client.refresh()), true);
  assert.equal(world.server.count('POST /refresh invalid_request'), 1);
  await world.run(10_000);
  assert.equal(world.server.count('POST /refresh duplicate_request'), 1);
  assert.equal(world.server.alarms, 0);
  assert.equal(await world.until(other!.client.refresh()), true);
});

test('refreshIn says when the timer refreshes, and nothing once signed out', async () => {
  const world = new World();
  const [tab] = await signedIn(world, 'remembered');
  const { client } = tab!;
  const access = world.server.lifetimes.access * 1000;
  const due = client.refreshIn()!;
  assert.ok(due > 0.74 * access && due < 0.9 * access, String(due));
  await world.run(MINUTE);
  assert.equal(client.refreshIn(), due - MINUTE);
  const rotations = world.server.rotations;
  client.active();
  await world.run(due - MINUTE + 1000);
  assert.equal(world.server.rotations, rotations + 1);
  assert.ok(client.refreshIn()! > 0.7 * access);
  await world.until(client.logout());
  assert.equal(client.refreshIn(), undefined);
});
