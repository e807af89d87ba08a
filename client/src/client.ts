/** The session of this browser or app: one for all tabs, refreshed by one at a time. */

import {
  LatchkeyError,
  type Client,
  type Options,
  type Platform,
  type Reset,
  type SignedIn,
  type SignedOutReason,
  type Verification,
} from './api.js';
import { asObject, exchange, isText, problemIn, read as readAnswer } from './http.js';
import { createLock, lost, type IsLost } from './lock.js';
import { createStore, PENDING, safely, type Entry } from './store.js';
import { createTimer } from './timer.js';

/** What a refused refresh says of the session. Nothing else ends one. */
const ENDS: Record<string, SignedOutReason> = {
  // A code that every object has is none of these.
  __proto__: null as never,
  token_missing: 'expired',
  token_expired: 'expired',
  token_invalid: 'ended',
  session_ended: 'ended',
  token_reused: 'reused',
};
/** Tries of one refresh or replacement, before whoever asked for it hears of the fault. */
const TRIES = 3;
/** Milliseconds for one try. Everybody waits for it, and giving up early costs nothing: the key repeats it. */
const PATIENCE = 10_000;

/** What replaces the session by a new one, for whoever gives their password. */
type Replacing = '/reauthenticate' | '/password/change';

/** What one tab tells the others. */
interface News {
  n: number;
  expiresIn?: number;
  isLast?: boolean;
  /** What the storage refused. */
  text?: string;
}

/** `here` is the page's URL, where there is a page. */
export function clientOn(defaults: Platform, here: string | undefined, options: Options): Client {
  const platform: Platform = { ...defaults, ...options.platform };
  if (!options.platform?.key && typeof globalThis.crypto?.getRandomValues !== 'function') {
    throw new TypeError('no crypto.getRandomValues: load a polyfill first, or give `platform.key`');
  }
  const { now } = platform;
  const base = baseOf(options.api, here);
  const app = options.store;
  const name = (app ? 'latchkey-app:' : 'latchkey:') + base;
  // Longer than engines can count, it would end at once.
  const timeout = Math.min(options.timeout ?? 30_000, 2 ** 30);
  const storage = safely(platform.storage);
  const channel = openChannel(platform, name);
  const store = createStore(app, storage, name, (text) => tell({ n: NaN, text }));

  /** The session that this tab acts for. */
  let tab: Entry | undefined;
  /** Once signed out, this tab takes up no session until it is told to: its page may still show the last person's. */
  let detached = false;
  /** What another tab told last, until the store says so, too: browsers may bring either first. */
  let news: News | undefined;
  /** The session that was last seen in the store; `undefined`: nobody has looked yet. */
  let seen: string | undefined;
  let renewing: { n: number; done: Promise<boolean> } | undefined;
  /** The page is being asked for the password. */
  let proving: Promise<boolean> | undefined;
  /** Requests from this `n` on are of a session whose user has just given the password, as far as this tab knows. */
  let provenFrom = 0;

  const sleep = (milliseconds: number) => new Promise<void>((resolve) => platform.setTimeout(resolve, milliseconds));

  /**
   * Requests share the lock, so that none is in flight while somebody changes the cookies or the store. Without a store
   * that all tabs see, the pending key of a lost holder is lost with it, and nobody may take the lock over.
   */
  const shared = app || !platform.storage ? undefined : storage;
  const { hold: lock, stop: stopLock } = createLock(platform, name, timeout, shared);

  function tell(news: News) {
    try {
      channel?.postMessage(news);
    } catch {
      // Then the other tabs learn from the store.
    }
  }

  // ------------------------------------------------------------------------------------------------- The store

  async function load(): Promise<Entry> {
    const entry = await store.load();
    notice(entry);
    return entry;
  }

  async function save(entry: Entry) {
    await store.save(entry);
    notice(entry);
  }

  /** Compares what the store holds with what this tab acts for. */
  function notice(entry: Entry) {
    const isNew = seen !== undefined && seen !== entry.id;
    seen = entry.id ?? '';
    if (tab && (entry.out || (entry.id && entry.user !== tab.user))) {
      tab = undefined;
      detached = true;
      timer.arm();
      void Promise.resolve(entry.out ?? 'replaced').then(options.onSignedOut);
    } else if (entry.id && !entry.out) {
      const known = tab;
      if (!detached) tab = entry;
      if (tab && (known?.n !== entry.n || known.id !== entry.id)) timer.forget();
      if (!known) {
        timer.arm();
        if (isNew) void Promise.resolve().then(options.onSignedIn);
      }
    }
    if (tab && news?.n === entry.n) {
      if (news.expiresIn) timer.heard(news.expiresIn, !!news.isLast);
      news = undefined;
    }
  }

  const announce = ({ n }: Entry, expiresIn?: number, isLast?: boolean) => tell({ n, expiresIn, isLast });

  /** Stores a session response, and clears the pending key with it. */
  async function accept(answer: any, before: Entry, sentAt: number, isSignIn = false): Promise<SignedIn> {
    const { user, session } = whoIn(answer);
    const { token } = answer;
    const isWhole = Number.isFinite(token?.expires_in) && (!app || (isText(token.access) && isText(token.refresh)));
    if (!isWhole) throw new LatchkeyError('unexpected', 200);
    const life = Math.max(token.expires_in, (!isSignIn && session.kind === before.kind && before.life) || 0);
    if (isSignIn) {
      // Whoever was here is replaced on purpose, which is no news for this tab.
      tab = undefined;
      detached = true;
    }
    const entry: Entry = {
      n: before.n + 1,
      id: session.id,
      user: user.id,
      kind: session.kind,
      life,
      // A page has none, whatever is answered.
      access: app && token.access,
      refresh: app && token.refresh,
      device: isText(answer.device) ? answer.device : before.device,
    };
    if (session.id === before.id) {
      // Of these nobody knows yet whether they have arrived, or will.
      entry.proof = before.proof;
      entry.change = before.change;
    }
    // This tab's own doing is no news for it.
    seen = session.id;
    await save(entry);
    if (isSignIn) {
      detached = false;
      notice(entry);
    }
    // A repeated answer's token is shorter, too, as it ends with the first answer's.
    const isLast = token.expires_in < life && session.idle_expires_at === session.expires_at;
    announce(entry, token.expires_in, isLast);
    if (tab) timer.renewed(sentAt, token.expires_in, isLast);
    return { user, session };
  }

  async function end({ n, id, user, device }: Entry, out: SignedOutReason) {
    // Without an id there was nobody, but the tabs need not ask again.
    const entry: Entry = { n: n + 1, id, user, device, out };
    await save(entry);
    announce(entry);
  }

  // ----------------------------------------------------------------------------------------------- The network

  /** Calls one of Latchkey's own routes, as nobody but what the cookies say. */
  async function call(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string | undefined> = {},
    isLost?: IsLost,
    patience = timeout,
  ) {
    const sent: Record<string, string> = body ? { 'content-type': 'application/json' } : {};
    for (const [header, value] of Object.entries(headers)) if (value) sent[header] = value;
    const init: RequestInit = {
      method,
      headers: sent,
      body: body && JSON.stringify(body),
      credentials: app ? 'omit' : 'include',
      cache: 'no-store',
    };
    if (isLost?.()) throw lost();
    try {
      return await exchange(platform, base + path, init, patience, readAnswer);
    } catch (error) {
      throw asProblem(error);
    }
  }

  const bearer = ({ access }: Entry) => access && 'Bearer ' + access;

  const asProblem = (error: unknown) =>
    error instanceof LatchkeyError ? error : new LatchkeyError('network', 0, String(error));

  /** Sends a request of this tab. */
  function send(url: string, init: RequestInit): Promise<{ response: Response; entry: Entry }> {
    const request = async () => {
      const entry = await load();
      const headers = new Headers(init.headers);
      if (app && entry.access && !detached) headers.set('authorization', bearer(entry)!);
      const credentials = app || detached ? 'omit' : 'include';
      const sent = { ...init, headers, credentials } as const;
      const response = await exchange(platform, url, sent, timeout, (answer) => answer);
      return { response, entry };
    };
    return app ? request() : lock('shared', request, init.signal);
  }

  /** Sends it, and once more if that takes a refresh, and once more if that takes the password. */
  async function sendFresh(path: string, init: RequestInit = {}): ReturnType<typeof send> {
    const url = path.startsWith('/') ? base + path : path;
    if (!(url + '/').startsWith(base + '/')) throw new TypeError('not below the API: ' + path);
    if (tab && timer.isExpired()) await renew(tab.n);
    // What was read once cannot be sent again: streams of browsers, of Node, and generators.
    const body = Object(init.body);
    const isUsedUp = typeof body.getReader === 'function' || Symbol.asyncIterator in body;
    let sent = await send(url, init);
    for (const isToRepeat of [isRenewedFor, isProvenFor]) {
      const { response, entry } = sent;
      if (detached || entry.out || !(await isToRepeat(response, entry.n, path))) continue;
      if (isUsedUp) break;
      sent = await send(url, init);
    }
    return sent;
  }

  /** Whether there is a newer token than that of `n`, with which an answer may be another. */
  async function isRenewedFor(response: Response, n: number, path: string): Promise<boolean> {
    const { status } = response;
    if (status !== 401 && status !== 403) return false;
    const { code } = await problemIn(response.clone());
    if (code) return status === 401 && code in ENDS && renew(n, code);
    // The gateway's own 401 and 403 do not say why. `me` knows whether it is the token.
    if (path === '/me' || !tab) return false;
    await sendFresh('/me');
    return (await load()).n !== n && !!tab;
  }

  /** Whether the password was given, as an answer to a request of `n` wants it, after that was sent. */
  async function isProvenFor(response: Response, n: number): Promise<boolean> {
    if (response.status !== 403 || !options.onReauthenticate) return false;
    const { code } = await problemIn(response.clone());
    return code === 'reauthentication_required' && (n < provenFrom || prove('/reauthenticate'));
  }

  // ----------------------------------------------------------------------------------------------- The session

  /**
   * Refreshes from `n`, unless somebody has done so; `because` of that code, in an answer to a request of `n`. `false`:
   * nobody is signed in.
   */
  function renew(n: number, because?: string): Promise<boolean> {
    if (renewing?.n === n) return renewing.done;
    const done = lock('exclusive', async (isLost) => {
      const entry = await load();
      if (detached || entry.out) return false;
      return (entry.n !== n && !!entry.id) || rotate(entry, isLost, because);
    })
      .catch(async (error) => {
        const entry = await load();
        const route = error.code in ENDS && unanswered(entry);
        if (!route) throw error;
        if (await prove(route).catch(isNobody)) return true;
        await lock('exclusive', async (isLost) => {
          if (isSame(await load(), entry) && !isLost()) await end(entry, ENDS[error.code]!);
        });
        return false;
      })
      .finally(() => {
        if (renewing?.done === done) renewing = undefined;
      });
    renewing = { n, done };
    return done;
  }

  /** Refreshes, with the lock held. */
  async function rotate(entry: Entry, isLost: IsLost, because?: string): Promise<boolean> {
    try {
      if (await post('/refresh', entry, isLost, app && { refresh: entry.refresh })) return !!tab;
      return !(await load()).out && !detached;
    } catch (error) {
      const { code, status } = error as LatchkeyError;
      const reason = status === 401 && ENDS[code];
      // A session that was replaced is gone, too. If that answer was lost, it can be had again.
      if (!reason || unanswered(entry)) throw error;
      // Whoever told of reuse has ended the session; the refresh finds it gone.
      await end(entry, because === 'token_reused' && code === 'session_ended' ? ENDS[because]! : reason);
      return false;
    }
  }

  /** What may have replaced the session, and can be repeated with the password that the page is asked for. */
  const unanswered = ({ proof, change }: Entry): Replacing | undefined =>
    !options.onReauthenticate ? undefined : change ? '/password/change' : proof ? '/reauthenticate' : undefined;

  /**
   * Sends what brings new tokens, with the lock held, and stores its answer; `undefined`: somebody has been faster. An
   * attempt is answered or aborted before the next one.
   */
  async function post(
    route: keyof typeof PENDING,
    entry: Entry,
    isLost: IsLost,
    body?: object,
  ): Promise<SignedIn | undefined> {
    const pending = PENDING[route];
    // A key from the store may have been sent by a tab that was closed before it could store the answer.
    let isSent = !!entry[pending];
    // Where there is no lock for all who share the store, or this tab was suspended and has lost it, somebody may have
    // been faster: this attempt is none any more, and its answer a late one.
    const isLate = async () => isLost() || !isSame(await load(), entry);
    for (let attempt = 1; ; attempt++) {
      if (isLost()) throw lost();
      if (!entry[pending]) await save((entry = { ...entry, [pending]: platform.key() }));
      const sentAt = now();
      let answer;
      let problem: LatchkeyError | undefined;
      try {
        const headers = {
          'idempotency-key': entry[pending],
          // A refresh does not need it, and is not to be refused for it.
          authorization: route === '/refresh' ? undefined : bearer(entry),
        };
        answer = await call('POST', route, body, headers, isLost, Math.min(timeout, PATIENCE));
      } catch (error) {
        problem = error as LatchkeyError;
      }
      if (await isLate()) return undefined;
      if (!problem) return accept(answer, entry, sentAt);
      const { code, status } = problem;
      if (route === '/refresh' && code === 'invalid_request' && isSent && attempt < TRIES) {
        // The cookies are those of this key's own answer already: it is used up, and the session lives.
        entry = { ...entry, key: undefined };
        isSent = false;
        continue;
      }
      const isTransient = status === 0 || status === 429 || status >= 500 || code === 'duplicate_request';
      if (!isTransient && route !== '/refresh' && !(isSent && code === 'wrong_password')) {
        // The key has done nothing. Of one that was sent before, another password does not say so.
        await save({ ...entry, [pending]: undefined });
      }
      if (!isTransient || attempt >= TRIES) throw problem;
      isSent = true;
      const pause = problem.retryAfter ? Math.min(problem.retryAfter, 5) * 1000 : 250 * 2 ** attempt;
      await sleep(pause * (1 + platform.random() / 2));
      if (await isLate()) return undefined;
    }
  }

  /** Replaces the session by a new one, with an older token refreshed before, if it takes that. */
  function replace(route: Replacing, body: object): Promise<SignedIn> {
    return lock('exclusive', async (isLost) => {
      timer.active();
      for (let isRenewed = false; ; isRenewed = true) {
        const entry = await load();
        if (detached || entry.out) throw new LatchkeyError('token_missing', 401);
        try {
          const signedIn = await post(route, entry, isLost, body);
          if (!signedIn) throw lost();
          provenFrom = entry.n + 1;
          return signedIn;
        } catch (error) {
          const { code, status } = error as LatchkeyError;
          if (isRenewed || status !== 401 || !(code in ENDS)) throw error;
          if (!(await rotate(await load(), isLost, code))) throw error;
        }
      }
    });
  }

  /** Asks the page for the password until it is the right one, and sends it there. `false`: it gave none. */
  function prove(route: Replacing): Promise<boolean> {
    const ask = async () => {
      for (let problem: LatchkeyError | undefined; ; ) {
        const password = await options.onReauthenticate!(problem);
        if (!password) return false;
        try {
          // A change that has happened is answered again to whoever knows the new password.
          await replace(route, route === '/reauthenticate' ? { password } : { password, new_password: password });
          return true;
        } catch (error) {
          problem = error as LatchkeyError;
          if (problem.code !== 'wrong_password') throw error;
        }
      }
    };
    return (proving ??= ask().finally(() => (proving = undefined)));
  }

  function signIn(path: string, body: object): Promise<SignedIn> {
    return lock('exclusive', async (isLost) => {
      const before = await load();
      timer.active();
      const sentAt = now();
      const answer = await call(
        'POST',
        path,
        { ...body, client: app && 'app', device: path === '/login' ? before.device : undefined },
        {
          // The server ends the session that the request came with.
          authorization: bearer(before),
        },
        isLost,
      );
      if (isLost()) throw lost();
      return accept(answer, before, sentAt, true);
    });
  }

  function logout({ everywhere = false } = {}): Promise<void> {
    return lock('exclusive', async (isLost) => {
      let entry = await load();
      const post = () => call('POST', '/logout', { everywhere, refresh: entry.refresh }, {}, isLost);
      try {
        await post();
      } catch (error) {
        const { code, status } = error as LatchkeyError;
        // Another's 401 does not say that the server has heard of it.
        if (status !== 401 || !(code in ENDS)) throw error;
        if (everywhere) {
          // It takes the current token.
          if (!(await rotate(entry, isLost))) throw error;
          entry = await load();
          await post();
        }
      }
      if (isLost()) throw lost();
      await end(entry, 'logged_out');
    });
  }

  async function signOutIdle(isStillIdle: () => boolean) {
    const before = tab;
    await lock('exclusive', async (isLost) => {
      const entry = await load();
      if (!tab || entry.n !== before?.n || !isStillIdle()) return;
      // If this fails, the cookie lives on for the rest of its life, unless `me` meets it before.
      await call('POST', '/logout', {}, {}, isLost).catch(() => {});
      if (!isLost()) await end(entry, 'idle');
    });
  }

  async function me(): Promise<SignedIn | null> {
    detached = false;
    for (;;) {
      const sentAt = now();
      const { response, entry } = await sendFresh('/me').catch((error) => {
        throw asProblem(error);
      });
      // Nothing but Latchkey's own word for it says that nobody is signed in.
      if (response.status === 401 && ((await problemIn(response.clone())).code ?? '') in ENDS) return null;
      const answer = await readAnswer(response).catch((error) => {
        throw asProblem(error);
      });
      const { user, session } = whoIn(answer);
      if (!app && (session.id !== entry.id || entry.out)) {
        // The cookies are of a session that this client did not begin (the mailed link's page did), or did not end.
        const isSettled = await lock('exclusive', async (isLost) => {
          const latest = await load();
          if (latest.n !== entry.n) return false;
          if (latest.out === 'idle' && latest.id === session.id) {
            await call('POST', '/logout', {}, {}, isLost);
            return true;
          }
          const found: Entry = { n: latest.n + 1, id: session.id, user: user.id, kind: session.kind };
          seen = found.id;
          await save(found);
          announce(found);
          return true;
        });
        if (!isSettled) continue;
      }
      if (!tab) return null;
      timer.asked(sentAt, tab);
      return { user, session };
    }
  }

  const own = async (method: string, path: string, body?: object) => {
    const sent = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    try {
      return await readAnswer((await sendFresh(path, { method, ...sent })).response);
    } catch (error) {
      throw asProblem(error);
    }
  };

  async function resetPassword(reset: Reset) {
    const answer = await call('POST', '/password/reset', { ...reset, client: app && 'app' });
    if (isText(answer?.device)) await lock('exclusive', async () => save({ ...(await load()), device: answer.device }));
  }

  async function deleteAccount() {
    await own('DELETE', '/me');
    await lock('exclusive', async (isLost) => {
      const entry = await load();
      if (!entry.out && !isLost()) await end(entry, 'deleted');
    });
  }

  const timer = createTimer(platform, storage, name, {
    session: () => tab,
    look: load,
    refresh: async () => tab && renew(tab.n),
    ask: me,
    signOutIdle,
  });
  if (channel) {
    channel.onmessage = ({ data }: { data: News }) => {
      if (data.text) store.keep(data.text);
      else news = data;
      void load().catch(() => {});
    };
  }
  void load().catch(() => {});

  return {
    signUp: async (signup) => asObject(await call('POST', '/signup', { ...signup, client: app && 'app' })),
    resend: async (signup_id) => asObject(await call('POST', '/signup/resend', { signup_id })),
    verify: (verification: Verification) => signIn('/verify', verification),
    login: (credentials) => signIn('/login', credentials),
    logout,
    me,
    reauthenticate: (password) => replace('/reauthenticate', { password }),
    async forgotPassword(account) {
      const { device } = await load();
      return asObject(await call('POST', '/password/forgot', { ...account, client: app && 'app', device }));
    },
    resetPassword,
    changePassword: (password, new_password) => replace('/password/change', { password, new_password }),
    changeEmail: async (email) => asObject(await own('POST', '/email/change', { email })),
    confirmEmail: (proof) => own('POST', '/email/confirm', proof),
    updateMe: async (changes) => whoIn(await own('PATCH', '/me', changes)),
    deleteAccount,
    exportMe: async () => asObject(await own('GET', '/me/export')),
    async sessions() {
      const { sessions } = asObject(await own('GET', '/sessions'));
      if (!Array.isArray(sessions)) throw new LatchkeyError('unexpected', 200);
      return sessions;
    },
    endSession: async (id) => (id === tab?.id ? logout() : own('DELETE', '/sessions/' + encodeURIComponent(id))),
    fetch: async (path, init) => (await sendFresh(path, init)).response,
    refresh: async () => renew((await load()).n),
    refreshIn: timer.refreshIn,
    active: timer.active,
    close() {
      tab = undefined;
      detached = true;
      timer.stop();
      stopLock();
      try {
        channel?.close();
      } catch {
        // It was none.
      }
    },
  };
}

/** Whom an answer names, where it names somebody. */
function whoIn(answer: any): SignedIn {
  const { user, session } = asObject(answer);
  if (!isText(user?.id) || !isText(session?.id)) throw new LatchkeyError('unexpected', 200);
  return { user, session };
}

const isSame = (one: Entry, other: Entry) =>
  (['n', 'id', 'key', 'proof', 'change'] as const).every((part) => one[part] === other[part]);

/** An error that says that nobody is signed in. Another is passed on. */
function isNobody(error: unknown): false {
  if ((error as LatchkeyError).status === 401) return false;
  throw error;
}

/** The API's URL without a slash at its end. A server that renders a page does not know where that will be. */
function baseOf(api: string, here: string | undefined): string {
  const url = !here && /^(\/|$)/.test(api ?? '') ? (api ?? '') : new URL(api || '/', here).href;
  return url.replace(/\/+$/, '');
}

function openChannel(platform: Platform, name: string) {
  try {
    const channel = platform.channel?.(name);
    // A process of Node is not kept running for it.
    channel?.unref?.();
    return channel;
  } catch {
    // A page may be kept from it.
    return undefined;
  }
}
