/** The client in Chromium against the local stack. Each test ends signed in or signed out, and says which. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { BrowserContext, Page } from 'playwright-core';
import { Chromium, PASSWORD, Stack, cookies, generation, told } from './harness.js';

let chromium: Chromium;
/** As deployed; access tokens of 3 s in remembered sessions; browser sessions that 6 idle seconds end. */
let stack: Stack;
let shortToken: Stack;
let shortIdle: Stack;

before(async () => {
  [chromium, stack, shortToken, shortIdle] = await Promise.all([
    Chromium.start(),
    Stack.start(),
    Stack.start({ AppAccessTokenLifetime: 3 }),
    Stack.start({ BrowserIdleTimeout: 6 }),
  ]);
  for (const one of [stack, shortToken, shortIdle]) {
    await one.account('ann');
    await one.account('ben');
  }
});

after(async () => {
  await Promise.all([chromium?.stop(), stack?.stop(), shortToken?.stop(), shortIdle?.stop()]);
});

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));
const login = (page: Page, username: string, remember = false) =>
  page.evaluate((credentials) => window.client.login(credentials), { username, password: PASSWORD, remember });
const who = (page: Page) => page.evaluate(async () => (await window.client.me())?.user.username ?? null);
const reasons = (pages: Page[]) => Promise.all(pages.map((page) => page.evaluate(() => window.reasons)));

/** A test with a browser of its own, as far as cookies and storage go. */
function inBrowser(name: string, on: () => Stack, run: (context: BrowserContext, stack: Stack) => Promise<void>) {
  test(name, { timeout: 120_000 }, async () => {
    const context = await chromium.browser.newContext();
    try {
      await run(context, on());
    } finally {
      on().wire.onAnswer = undefined;
      await context.close();
      on().wire.log.length = 0;
    }
  });
}

const tabs = (context: BrowserContext, on: Stack, count: number) =>
  Promise.all(Array.from({ length: count }, () => on.open(context)));

inBrowser(
  'page and API on different origins: sign up, verify, me, refresh, sessions, log out',
  () => stack,
  async (context, on) => {
    const [page, other] = await tabs(context, on, 2);
    assert.notEqual(new URL(on.page).origin, new URL(on.api).origin);
    assert.equal(await who(page!), null);
    const signup = { username: 'cho', email: 'cho@example.com', password: PASSWORD, locale: 'ko' };
    await page!.evaluate((signup) => window.client.signUp(signup), signup);
    const code = await on.code(signup.email);
    const { user } = await page!.evaluate((code) => window.client.verify({ code }), code);
    assert.equal(user.username, 'cho');
    assert.equal(await who(other!), 'cho');
    assert.equal(await page!.evaluate(() => document.cookie), 'username=cho', 'no script sees a token');
    assert.equal(await page!.evaluate(() => window.client.refresh()), true);
    assert.equal(await generation(context), 2);
    assert.equal(await page!.evaluate(async () => (await window.client.fetch('/me')).status), 200);
    await page!.evaluate(() => window.client.logout());
    await told([page!, other!], 'logged_out');
    assert.deepEqual(await cookies(context), []);
    assert.equal(await who(other!), null);
  },
);

inBrowser(
  "the mailed link's page signs in, and the app's page takes the session up",
  () => stack,
  async (context, on) => {
    const page = await on.open(context);
    const signup = { username: 'eve', email: 'eve@example.com', password: PASSWORD, locale: 'en' };
    await page.evaluate((signup) => window.client.signUp(signup), signup);
    const other = await context.newPage();
    await other.goto(await on.link(signup.email));
    await other.click('button');
    await other.waitForFunction(() => window.client);
    assert.equal(await who(other), 'eve');
    // It refreshes, to learn how long a token lives.
    for (let tries = 0; (await generation(context)) < 2 && tries < 50; tries++) await pause(100);
    assert.equal(await generation(context), 2);
    assert.equal(await who(page), 'eve');
    await other.evaluate(() => window.client.logout());
    await told([page, other], 'logged_out');
  },
);

inBrowser(
  'errors arrive with their code',
  () => stack,
  async (context, on) => {
    const page = await on.open(context);
    const code = (call: string) =>
      page.evaluate(
        (call) =>
          (0, eval)(`window.client.${call}`).then(
            () => 'fine',
            (error: any) => `${error.code} ${error.status}`,
          ),
        call,
      );
    assert.equal(await code("login({ username: 'ann', password: 'wrong password' })"), 'invalid_credentials 401');
    assert.equal(
      await code("signUp({ username: 'ann', email: 'a@example.com', password: 'correct horse battery' })"),
      'username_taken 409',
    );
    assert.equal(
      await code("signUp({ username: 'dee', email: 'a@example.com', password: 'short' })"),
      'weak_password 422',
    );
    assert.equal(await code("verify({ code: '00000000', signup_id: 'none' })"), 'invalid_verification 400');
    assert.equal(await code('logout({ everywhere: true })'), 'token_missing 401');
    assert.equal(await page.evaluate(async () => (await window.client.fetch('/nothing')).status), 404);
  },
);

for (const remember of [false, true]) {
  const kind = remember ? 'remembered' : 'browser';

  inBrowser(
    `${kind}: eight tabs refresh together: one refresh, signed in`,
    () => stack,
    async (context, on) => {
      const all = await tabs(context, on, 8);
      await login(all[0]!, 'ann', remember);
      on.wire.log.length = 0;
      // Until all have asked.
      on.wire.onAnswer = ({ url }) => (url === '/refresh' ? (pause(1000) as Promise<void>) : undefined);
      const results = await Promise.all(all.map((page) => page.evaluate(() => window.client.refresh())));
      assert.deepEqual(results, Array(8).fill(true));
      // A tab that reads the store as it was a moment ago refreshes for itself.
      assert.ok(on.count('POST /refresh') <= 2, `${on.count('POST /refresh')} refreshes`);
      assert.equal(await generation(context), 1 + on.count('POST /refresh 200'));
      assert.deepEqual(await Promise.all(all.map(who)), Array(8).fill('ann'));
      assert.deepEqual((await reasons(all)).flat(), []);
    },
  );

  inBrowser(
    `${kind}: the answer is lost: repeated with its key, signed in`,
    () => stack,
    async (context, on) => {
      const page = await on.open(context);
      await login(page, 'ann', remember);
      const keys: unknown[] = [];
      on.wire.onAnswer = ({ url, method, headers }) => {
        if (url !== '/refresh' || method !== 'POST') return;
        keys.push(headers['idempotency-key']);
        if (keys.length < 3) return 'lose';
      };
      assert.equal(await page.evaluate(() => window.client.refresh()), true);
      assert.equal(keys.length, 3);
      assert.equal(new Set(keys).size, 1);
      assert.equal(await generation(context), 2);
      assert.equal(await who(page), 'ann');
    },
  );

  inBrowser(
    `${kind}: the password again, and the answer is lost: repeated with its key, a new session for both tabs`,
    () => stack,
    async (context, on) => {
      const [page, other] = await tabs(context, on, 2);
      await login(page!, 'ann', remember);
      const before = await page!.evaluate(async () => (await window.client.me())!.session.id);
      const keys: unknown[] = [];
      on.wire.onAnswer = ({ url, method, headers }) => {
        if (url !== '/reauthenticate' || method !== 'POST') return;
        keys.push(headers['idempotency-key']);
        if (keys.length < 3) return 'lose';
      };
      const work = [
        page!.evaluate(async (password) => (await window.client.reauthenticate(password)).session.id, PASSWORD),
        other!.evaluate(async () => String(await window.client.refresh())),
      ];
      const [id, isRefreshed] = await Promise.all(work);
      assert.equal(isRefreshed, 'true');
      assert.notEqual(id, before);
      assert.equal(keys.length, 3);
      assert.equal(new Set(keys).size, 1);
      for (const one of [page!, other!]) {
        assert.equal(await one.evaluate(async () => (await window.client.me())!.session.id), id);
        assert.equal(await one.evaluate(() => window.client.refresh()), true);
      }
      assert.deepEqual(await reasons([page!, other!]), [[], []]);
    },
  );

  inBrowser(
    `${kind}: the password again, all answers lost: the other tab is asked for it, and both go on`,
    () => stack,
    async (context, on) => {
      const [page, other] = await tabs(context, on, 2);
      await login(page!, 'ann', remember);
      assert.equal(await who(other!), 'ann');
      on.wire.onAnswer = ({ url, method }) => (url === '/reauthenticate' && method === 'POST' ? 'lose' : undefined);
      const code = page!.evaluate(
        (password) => window.client.reauthenticate(password).then(() => 'fine', (error) => error.code),
        PASSWORD,
      );
      assert.equal(await code, 'network');
      on.wire.onAnswer = undefined;
      await other!.evaluate((password) => window.typed.push('not this one', password), PASSWORD);
      assert.equal(await other!.evaluate(async () => (await window.client.fetch('/me')).status), 200);
      assert.deepEqual(await other!.evaluate(() => window.typed), []);
      for (const one of [page!, other!]) {
        assert.equal(await one.evaluate(() => window.client.refresh()), true);
        assert.equal(await who(one), 'ann');
      }
      assert.deepEqual(await reasons([page!, other!]), [[], []]);
    },
  );

  inBrowser(
    `${kind}: a tab killed between the server's answer and its storing: signed in`,
    () => stack,
    async (context, on) => {
      const survivor = await on.open(context);
      await login(survivor, 'ann', remember);
      const victim = await on.open(context);
      await victim.evaluate(() => {
        const { setItem } = Storage.prototype;
        Storage.prototype.setItem = function (name, value) {
          // The answer is there, and its cookies are in the jar: this tab gets no further.
          if (value.startsWith('{') && !JSON.parse(value).key) for (;;);
          setItem.call(this, name, value);
        };
      });
      const answered = new Promise<void>((done) => {
        on.wire.onAnswer = ({ url }) => {
          if (url === '/refresh') setTimeout(done, 500);
        };
      });
      const crashed = victim.waitForEvent('crash');
      victim.evaluate(() => void window.client.refresh()).catch(() => {});
      await answered;
      assert.equal(await generation(context), 2, 'the browser has the new cookies');
      assert.ok(
        JSON.parse((await survivor.evaluate(() => Object.values(localStorage).find((text) => text.startsWith('{'))))!)
          .key,
      );
      process.kill(await chromium.busiest(), 'SIGKILL');
      await crashed;
      on.wire.log.length = 0;
      assert.equal(await survivor.evaluate(() => window.client.refresh()), true);
      assert.deepEqual(
        on.wire.log.filter((line) => line.startsWith('POST')),
        ['POST /refresh 400', 'POST /refresh 200'],
      );
      assert.equal(await generation(context), 3);
      assert.equal(await who(survivor), 'ann');
      assert.deepEqual((await reasons([survivor])).flat(), []);
    },
  );

  inBrowser(
    `${kind}: the cookie jar is stolen and used: noticed, signed out, and so is the thief`,
    () => stack,
    async (context, on) => {
      const all = await tabs(context, on, 2);
      await login(all[0]!, 'ann', remember);
      // The other tab's process has to know of it: what it does not know, it does not refresh from.
      await all[1]!.waitForFunction(() => window.client.refreshIn() !== undefined);
      const cookie = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
      const headers = { cookie, origin: on.page, 'idempotency-key': 'the-thief-has-a-key-of-its-own' };
      const theft = await fetch(on.direct + '/refresh', { method: 'POST', headers });
      assert.equal(theft.status, 200);
      const loot = theft.headers
        .getSetCookie()
        .map((line) => line.split(';')[0])
        .join('; ');
      assert.equal(await all[1]!.evaluate(() => window.client.refresh()), false);
      await told(all, 'reused');
      assert.equal((await fetch(on.direct + '/me', { headers: { cookie: loot } })).status, 401);
      assert.equal(await who(all[0]!), null);
    },
  );

  inBrowser(
    `${kind}: two people on one browser: the first one's tab is signed out, the second's signed in`,
    () => stack,
    async (context, on) => {
      const [mine, yours] = await tabs(context, on, 2);
      await login(mine!, 'ann', remember);
      await login(yours!, 'ben', remember);
      await told([mine!], 'replaced');
      assert.equal(
        await mine!.evaluate(async () => (await window.client.fetch('/me')).status),
        401,
        'it sends no cookies',
      );
      assert.equal(await who(yours!), 'ben');
      assert.deepEqual((await reasons([yours!])).flat(), []);
      assert.equal(await who(mine!), 'ben', 'once it asks');
    },
  );
}

inBrowser(
  "remembered: asleep past the access token's end: signed in",
  () => shortToken,
  async (context, on) => {
    const all = await tabs(context, on, 3);
    await login(all[0]!, 'ann', true);
    await chromium.sleep(5000);
    const answers = await Promise.all(
      all.map((page) => page.evaluate(async () => (await window.client.fetch('/me')).status)),
    );
    assert.deepEqual(answers, [200, 200, 200]);
    assert.deepEqual((await reasons(all)).flat(), []);
  },
);

inBrowser(
  "browser: asleep past the session's end: signed out in every tab",
  () => shortIdle,
  async (context, on) => {
    const all = await tabs(context, on, 3);
    await login(all[0]!, 'ann');
    for (const page of all) await page.evaluate(() => window.client.me());
    await chromium.sleep(9000);
    for (const page of all) await page.waitForFunction(() => window.reasons.length > 0);
    const heard = await reasons(all);
    assert.deepEqual(
      heard.map(({ length }) => length),
      [1, 1, 1],
    );
    for (const [reason] of heard) assert.match(reason!, /^(idle|expired)$/);
    assert.equal(await who(all[0]!), null);
  },
);

inBrowser(
  "remembered: offline past the access token's end, and back: signed in",
  () => shortToken,
  async (context, on) => {
    const all = await tabs(context, on, 2);
    await login(all[0]!, 'ann', true);
    await context.setOffline(true);
    await all[0]!.mouse.move(10, 10);
    await pause(4000);
    const error = await all[1]!.evaluate(() => window.client.me().then(String, (error) => error.code));
    assert.equal(error, 'network');
    assert.deepEqual((await reasons(all)).flat(), []);
    await context.setOffline(false);
    assert.deepEqual(await Promise.all(all.map(who)), ['ann', 'ann']);
    assert.deepEqual((await reasons(all)).flat(), []);
  },
);

inBrowser(
  "browser: offline past the session's end, and back: signed out",
  () => shortIdle,
  async (context, on) => {
    const all = await tabs(context, on, 2);
    await login(all[0]!, 'ann');
    await context.setOffline(true);
    for (let second = 0; second < 8; second++) {
      await all[0]!.mouse.move(second, second);
      await pause(1000);
    }
    assert.deepEqual((await reasons(all)).flat(), [], 'the server has not said so');
    await context.setOffline(false);
    await told(all, 'expired');
  },
);

inBrowser(
  'browser: an active person stays signed in, an idle one is signed out in every tab',
  () => shortIdle,
  async (context, on) => {
    const all = await tabs(context, on, 2);
    await login(all[0]!, 'ann');
    for (let second = 0; second < 15; second++) {
      await all[second % 2]!.mouse.move(second, second);
      await pause(1000);
    }
    assert.deepEqual((await reasons(all)).flat(), []);
    assert.ok(on.count('POST /refresh 200') >= 2);
    await told(all, 'idle');
    // Both timers are due at once, and a tab that waited for the lock may read what was stored a moment ago.
    const logouts = on.count('POST /logout 204');
    assert.ok(logouts === 1 || logouts === 2, `${logouts} log-outs`);
    assert.deepEqual(await cookies(context), []);
  },
);

inBrowser(
  'browser: the late answer of a sliding renewal does not overtake a refresh: signed in',
  () => shortIdle,
  async (context, on) => {
    const [one, two] = await tabs(context, on, 2);
    await login(one!, 'ann');
    await pause(3500);
    on.wire.onAnswer = ({ url }) => (url === '/me' ? (pause(1200) as Promise<void>) : undefined);
    const me = who(one!);
    await pause(200);
    assert.equal(await two!.evaluate(() => window.client.refresh()), true);
    assert.equal(await me, 'ann');
    // On a slow machine the timer of a tab that heard late of the log-in's activity has refreshed, too.
    const refreshes = on.count('POST /refresh 200');
    assert.ok(refreshes >= 1);
    assert.equal(await generation(context), 1 + refreshes);
    assert.equal(await one!.evaluate(() => window.client.refresh()), true);
    assert.deepEqual((await reasons([one!, two!])).flat(), []);
  },
);

inBrowser(
  'a page of an origin that is not allowed gets nothing',
  () => stack,
  async (context, on) => {
    const page = await context.newPage();
    // The stack allows its page's origin alone, and this is the page of another.
    await page.goto((on === stack ? shortIdle : stack).page);
    await page.evaluate(async (api) => {
      const url = '/latchkey.js';
      const { createClient } = await import(url);
      window.client.close();
      window.client = createClient({ api });
    }, on.api);
    const code = await page.evaluate(
      (password) => window.client.login({ username: 'ann', password }).then(String, (error) => error.code),
      PASSWORD,
    );
    assert.equal(code, 'network', 'the browser does not show the answer');
    assert.deepEqual(await cookies(context), []);
  },
);

inBrowser(
  'a tab that never gives the lock back: the other is told in time, goes on after a minute, and stays signed in',
  () => stack,
  async (context, on) => {
    const [held, waiting] = [await on.open(context), await context.newPage()];
    await login(held, 'ann', true);
    await waiting.clock.install();
    await waiting.goto(on.page);
    await waiting.waitForFunction(() => window.client);
    assert.equal(await who(waiting), 'ann');
    // As one that is suspended in the middle of it.
    await held.evaluate(
      (name) => void navigator.locks.request(name, () => new Promise(() => {})),
      `latchkey:${on.api}`,
    );
    const call = () => waiting.evaluate(() => window.client.refresh().catch((error) => error.code));
    const refused = call();
    await pause(300);
    await waiting.clock.fastForward(33_500);
    assert.equal(await refused, 'network');
    assert.equal(await generation(context), 1);
    await waiting.clock.fastForward(2_000);
    // They go on with another lock, and wait until all that was sent before is dead.
    const refreshed = call();
    await pause(300);
    assert.equal(await generation(context), 1);
    await waiting.clock.fastForward(31_000);
    assert.equal(await refreshed, true);
    assert.equal(await generation(context), 2);
    const third = await on.open(context);
    assert.equal(await third.evaluate(() => window.client.refresh()), true);
    assert.deepEqual((await reasons([held, waiting, third])).flat(), []);
  },
);

inBrowser(
  'the storage is emptied: signed in, refreshed with its key, and told of the end',
  () => stack,
  async (context, on) => {
    const all = await tabs(context, on, 2);
    await login(all[0]!, 'ann', true);
    await all[1]!.evaluate(() => localStorage.clear());
    assert.equal(await all[0]!.evaluate(() => window.client.refresh()), true);
    assert.deepEqual(await Promise.all(all.map(who)), ['ann', 'ann']);
    await all[1]!.evaluate(() => localStorage.clear());
    await all[1]!.evaluate(() => window.client.logout());
    await told(all, 'logged_out');
  },
);

inBrowser(
  'the storage is full: signed in, refreshed, and signed out in every tab',
  () => stack,
  async (context, on) => {
    const all = await tabs(context, on, 2);
    await all[0]!.evaluate(() => {
      for (let size = 2 ** 22; size; size >>= 1) {
        try {
          for (let count = 0; ; count++) localStorage.setItem(`fill ${size} ${count}`, 'x'.repeat(size));
        } catch {
          // Smaller, then.
        }
      }
    });
    await login(all[0]!, 'ann', true);
    assert.deepEqual(await Promise.all(all.map(who)), ['ann', 'ann']);
    assert.equal(await all[0]!.evaluate(() => window.client.refresh()), true);
    assert.equal(await all[1]!.evaluate(() => window.client.refresh()), true);
    await all[0]!.evaluate(() => window.client.logout());
    await told(all, 'logged_out');
  },
);
