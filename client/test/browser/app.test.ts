/** An app's client against the local stack, in Node: no Web Locks, no cookies. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient, type SignedOutReason, type TokenStore } from '../../src/latchkey.js';
import { PASSWORD, Stack } from './harness.js';

let stack: Stack;
before(async () => {
  stack = await Stack.start({ AppAccessTokenLifetime: 2 });
  await stack.account('ann');
});
after(() => stack?.stop());

class Memory implements TokenStore {
  constructor(private text: string | null = null) {}
  async get() {
    return this.text;
  }
  async set(text: string) {
    this.text = text;
  }
  copy() {
    return new Memory(this.text);
  }
}

async function app(store = new Memory()) {
  const reasons: SignedOutReason[] = [];
  const client = createClient({ api: stack.api, store, onSignedOut: (reason) => reasons.push(reason) });
  return { client, store, reasons };
}

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

test('sign up, verify, me, log out: signed out', async () => {
  const { client, reasons } = await app();
  const { signup_id } = await client.signUp({ username: 'dan', email: 'dan@example.com', password: PASSWORD });
  await assert.rejects(client.resend(signup_id), { code: 'rate_limited', status: 429 });
  const { session } = await client.verify({ signup_id, code: await stack.code('dan@example.com') });
  assert.equal(session.kind, 'app');
  assert.equal((await client.me())?.user.username, 'dan');
  await client.logout();
  assert.deepEqual(reasons, ['logged_out']);
  assert.equal(await client.me(), null);
  client.close();
});

test("past the access token's end, and after the process was killed: signed in", async () => {
  const { client, store } = await app();
  await client.login({ username: 'ann', password: PASSWORD });
  await pause(2500);
  const statuses = await Promise.all([1, 2, 3].map(async () => (await client.fetch('/me')).status));
  assert.deepEqual(statuses, [200, 200, 200]);
  client.close();
  await pause(2500);
  const restarted = await app(store);
  assert.equal((await restarted.client.me())?.user.username, 'ann');
  restarted.client.close();
});

test('the answer is lost, and the process killed with it: signed in', async () => {
  const { client, store, reasons } = await app();
  await client.login({ username: 'ann', password: PASSWORD });
  stack.wire.onAnswer = ({ url }) => (url === '/refresh' ? 'lose' : undefined);
  await assert.rejects(client.refresh(), { code: 'network' });
  client.close();
  stack.wire.onAnswer = undefined;
  const restarted = await app(store);
  assert.equal(await restarted.client.refresh(), true);
  assert.equal((await restarted.client.me())?.user.username, 'ann');
  assert.deepEqual(reasons, []);
  restarted.client.close();
});

test('a copied store: noticed, signed out', async () => {
  const { client, store, reasons } = await app();
  await client.login({ email: 'ann@example.com', password: PASSWORD });
  const thief = await app(store.copy());
  assert.equal(await thief.client.refresh(), true);
  assert.equal(await client.refresh(), false);
  await pause(0);
  assert.deepEqual(reasons, ['reused']);
  assert.equal(await thief.client.me(), null);
  client.close();
  thief.client.close();
});

test('log out everywhere: signed out on the other device too', async () => {
  const [one, two] = [await app(), await app()];
  await one.client.login({ username: 'ann', password: PASSWORD });
  await two.client.login({ username: 'ann', password: PASSWORD });
  await one.client.logout({ everywhere: true });
  assert.equal(await two.client.me(), null);
  assert.deepEqual([one.reasons, two.reasons], [['logged_out'], ['ended']]);
  one.client.close();
  two.client.close();
});
