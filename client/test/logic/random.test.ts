/**
 * Whatever the network, the tabs and the device do: nobody is signed out who kept within the session's life, and no
 * alarm is raised. Hundreds of random histories (LATCHKEY_HISTORIES: more), each repeatable by its seed.
 *
 * Assumed, as DESIGN.md section 5 does: a copy of a refresh arrives within a minute of it, and fewer than three
 * refreshes are made in that minute. Other requests are not copied: one that arrives after two refreshes is taken for
 * theft («Older generations anywhere»). Whether a session was replaced, its answer being lost, is found out within ten
 * minutes, by somebody who knows the password (section 9).
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LatchkeyError } from '../../src/latchkey.js';
import { processLocks } from '../../src/platform.js';
import { Keychain, World, randomFrom, type Tab } from './world.js';

const FIRST = Number(process.env.LATCHKEY_SEED ?? 1);
const HISTORIES = Number(process.env.LATCHKEY_HISTORIES ?? 400);

async function history(seed: number, kind: 'browser' | 'remembered' | 'app') {
  const random = randomFrom(seed);
  const upTo = (limit: number) => Math.floor(random() * limit);
  const hit = (chance: number) => random() < chance;
  const world = new World();
  const store = new Keychain();
  // One process of an app at a time; when it dies, the next begins.
  // Whoever is asked for the password gives it; a wrong one now and then.
  const onReauthenticate = () => (hit(0.1) ? 'q' : 'p');
  const open = () =>
    kind === 'app'
      ? world.tab({
          store,
          onReauthenticate,
          platform: { locks: processLocks(), channel: undefined, storage: undefined, listen: () => () => {} },
        })
      : world.tab({ onReauthenticate });
  let tabs: Tab[] = Array.from({ length: kind === 'app' ? 1 : 1 + upTo(4) }, open);
  await world.until(tabs[0]!.client.login({ username: 'ann', password: 'p', remember: kind === 'remembered' }));
  await world.run(10);

  if (process.env.LATCHKEY_TRACE) {
    const handle = world.server.handle.bind(world.server);
    world.server.handle = (inbound) => {
      const outbound = handle(inbound);
      const { cookies, headers, body } = inbound;
      const sent = [
        cookies.get('access'),
        body?.refresh ?? cookies.get('refresh'),
        headers.get('idempotency-key')?.slice(0, 6),
      ];
      console.log(
        Math.round(world.real),
        inbound.method,
        inbound.path,
        ...sent,
        '->',
        outbound.body?.code ?? outbound.status,
      );
      return outbound;
    };
  }
  let isHealed = false;
  world.fate = ({ path }) => {
    if (isHealed) return {};
    const fate: ReturnType<World['fate']> = {
      there: upTo(hit(0.1) ? 12_000 : 500),
      back: upTo(hit(0.1) ? 12_000 : 500),
    };
    if (hit(0.15)) fate.loses = hit(0.5) ? 'request' : 'answer';
    if (hit(0.5)) fate.fails = true;
    if (hit(0.1) && path === '/refresh') fate.copyAfter = upTo(20_000);
    return fate;
  };
  world.server.intercept = () => {
    if (isHealed || !hit(0.05)) return undefined;
    return {
      status: 503,
      body: hit(0.5) ? { message: 'Service Unavailable' } : { code: 'unavailable' },
      setCookies: new Map(),
    };
  };

  /** The network works for a while, and somebody uses it. */
  async function heal() {
    isHealed = true;
    tabs.forEach((one) => (one.diesAt = undefined));
    const wasOnline = world.online;
    world.online = true;
    await world.run(70_000);
    tabs = tabs.filter(({ isAlive }) => isAlive);
    if (!tabs.some(({ isFrozen }) => !isFrozen)) tabs.push(open());
    const { client } = tabs.find(({ isFrozen }) => !isFrozen)!;
    // One that is suspended may have the lock: it is waited for, and then taken over.
    const refresh = async () => {
      for (let tries = 0; ; tries++) {
        try {
          return await world.until(client.refresh());
        } catch (error) {
          if (tries === 3 || (error as LatchkeyError).code !== 'network') throw error;
        }
      }
    };
    assert.equal(await refresh(), true, 'in between');
    // A repeated answer's token ends with the first one's.
    const [session] = world.server.sessions.values();
    if (world.real / 1000 - session!.rotatedAt > 60) assert.equal(await refresh(), true);
    world.online = wasOnline;
    isHealed = false;
    lastUse = lastRefresh = world.real;
  }

  let lastUse = world.real;
  let lastRefresh = world.real;
  let lastKill = world.real;
  for (let step = 0; step < 40; step++) {
    const tab = tabs[upTo(tabs.length)]!;
    const choice = upTo(12);
    if (choice === 11) {
      if (hit(0.5)) tab.client.fetch('/vault', { method: 'POST' }).catch(() => {});
      else tab.client.reauthenticate('p').catch(() => {});
      // Whether the session was replaced has to be found out in ten minutes, by whoever is asked for the password.
      await world.run(upTo(40_000));
      if (hit(0.3)) tab.kill();
      await heal();
    } else if (choice < 2) tab.client.fetch('/own').catch(() => {});
    else if (choice < 4) tab.client.me().catch(() => {});
    else if (choice === 4 && world.real - lastRefresh > 30_000) {
      lastRefresh = world.real;
      tabs.forEach(({ client }) => hit(0.5) && client.refresh().catch(() => {}));
    } else if (choice === 5) {
      // Killed at any moment of what it is at, or exactly between an answer and its storing, which costs a rotation.
      if (hit(0.5) && kind !== 'app' && world.real - lastKill > 60_000) {
        lastKill = world.real;
        tab.diesAt = 'store';
      } else {
        tab.kill();
      }
    } else if (choice === 6) {
      world.online = !world.online;
      if (world.online) world.dispatch('online');
    } else if (choice === 7) tab.show(!tab.isVisible);
    else if (choice === 8) {
      if (tab.isFrozen) tab.thaw(hit(0.5) ? 'first' : 'last');
      else tab.isFrozen = tabs.some((other) => other !== tab && !other.isFrozen);
    } else if (choice === 9 && hit(0.5)) {
      // Never so long that the session ends by itself.
      const left = kind === 'browser' ? Math.max(0, lastUse + 20 * 60_000 - world.real) : 8 * 3_600_000;
      world.sleep(upTo(left), hit(0.5));
    } else if (choice === 10) world.dateError = upTo(7_200_000) - 3_600_000;
    tabs = tabs.filter(({ isAlive }) => isAlive);
    if (!tabs.some(({ isFrozen }) => !isFrozen)) tabs.push(open());
    await world.run(upTo(hit(0.2) ? 60_000 : 3000));
    if (kind !== 'browser' && hit(0.1)) await world.run(upTo(20 * 60_000));
    tabs = tabs.filter(({ isAlive }) => isAlive);
    if (!tabs.some(({ isFrozen }) => !isFrozen)) tabs.push(open());
    const used = tabs.find(({ isFrozen }) => !isFrozen);
    tabs.forEach((one) => (one.isVisible || one === used) && one.touch());
    if (world.real - lastUse > 8 * 60_000 && kind === 'browser') {
      // A person who uses the page meets a network that works now and then, or the cookie runs out.
      await heal();
    }
  }

  isHealed = true;
  world.online = true;
  tabs.forEach((tab) => tab.isFrozen && tab.thaw());
  world.dispatch('online');
  await world.run(70_000);
  tabs = tabs.filter(({ isAlive }) => isAlive);
  tabs.forEach((tab) => (tab.diesAt = undefined));
  if (!tabs.length) tabs.push(open());
  assert.equal(world.server.alarms, 0, 'no alarm');
  assert.deepEqual(
    world.tabs.flatMap(({ signedOut }) => signedOut),
    [],
    'nobody is signed out',
  );
  for (const { client } of tabs) assert.equal((await world.until(client.me()))?.user.username, 'ann');
  assert.equal(await world.until(tabs[0]!.client.refresh()), true);
  const entry = kind === 'app' ? JSON.parse(store.text!) : world.entry;
  assert.equal(entry.key, undefined);
  assert.equal(world.server.sessions.size, 1);
}

for (const kind of ['browser', 'remembered', 'app'] as const) {
  test(`${kind}: ${HISTORIES} random histories`, async () => {
    for (let seed = FIRST; seed < FIRST + HISTORIES; seed++) {
      try {
        await history(seed, kind);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
}
