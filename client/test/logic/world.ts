/**
 * A device with tabs, a network between it and the server, and one clock that only tests move. Whatever happens,
 * happens at a time of that clock; a seed repeats it.
 */

import { createClient, type Client, type Options, type Platform, type TokenStore } from '../../src/latchkey.js';
import { Server, type Inbound, type Lifetimes, type Outbound } from './server.js';

/** What befalls one request. Milliseconds. */
export interface Fate {
  /** On the way there, and back. */
  there?: number;
  back?: number;
  loses?: 'request' | 'answer';
  /** A lost one fails at once, instead of when the client gives up. */
  fails?: boolean;
  /** A copy of the request arrives that much later; nobody waits for its answer. */
  copyAfter?: number;
}

interface Event {
  at: number;
  order: number;
  run(): void;
  isDropped?: boolean;
  /** It happens outside the device, which may sleep meanwhile. */
  isOutside: boolean;
}

export class World {
  /** Milliseconds on the device's monotonic clock. */
  time = 1_000_000;
  /** How long the device slept while that clock stood still. */
  asleep = 0;
  /** By how much the device's own date is wrong. */
  dateError = 0;
  online = true;
  /** Milliseconds from one tab to another. */
  newsTake = 1;
  /** Milliseconds for which the other tabs still read what was stored before; browsers keep a copy in each process. */
  storingTakes = 0;
  readonly server: Server;
  readonly jar = new Map<string, { value: string; expiresAt: number }>();
  readonly storage = new Map<string, string>();
  isStorageFull = false;
  /** How often a tab's timer rang. */
  rings = 0;
  /** How often all went on with another lock. */
  takeovers = 0;
  readonly tabs: Tab[] = [];
  readonly locks = new Locks();
  fate: (inbound: Inbound, tab: Tab) => Fate = () => ({});
  private readonly events: Event[] = [];
  private order = 0;

  constructor(lifetimes?: Lifetimes) {
    this.server = new Server(() => Math.floor(this.real / 1000), lifetimes);
  }

  /** Milliseconds as the server counts them. */
  get real() {
    return this.time + this.asleep;
  }

  at(delay: number, run: () => void, isOutside = false): Event {
    const event = { at: this.time + Math.max(0, delay), order: this.order++, run, isOutside };
    this.events.push(event);
    return event;
  }

  drop(event: Event | undefined) {
    const index = event ? this.events.indexOf(event) : -1;
    if (index >= 0) this.events.splice(index, 1);
  }

  /** Lets that much time pass. */
  async run(milliseconds: number) {
    const end = this.time + milliseconds;
    await settled();
    for (;;) {
      let next: Event | undefined;
      for (const event of this.events) {
        if (!next || event.at < next.at || (event.at === next.at && event.order < next.order)) next = event;
      }
      if (!next || next.at > end) break;
      this.drop(next);
      this.time = Math.max(this.time, next.at);
      next.run();
      await settled();
    }
    this.time = end;
  }

  /** Runs until `promise` is settled, and returns what it brings. */
  async until<T>(promise: Promise<T>, limit = 600_000): Promise<T> {
    let isDone = false;
    const done = () => {
      isDone = true;
    };
    promise.then(done, done);
    for (const end = this.time + limit; !isDone && this.time < end;) await this.run(50);
    if (!isDone) throw new Error('nothing happened in time');
    return promise;
  }

  /** The lid is shut: nothing runs. The monotonic clock goes on or stands still, as on different systems. */
  sleep(milliseconds: number, clockGoesOn: boolean) {
    for (const event of this.events.filter(({ isOutside }) => isOutside)) {
      this.drop(event);
      event.run();
    }
    if (clockGoesOn) this.time += milliseconds;
    else this.asleep += milliseconds;
  }

  cookies(): Map<string, string> {
    const cookies = new Map<string, string>();
    for (const [name, { value, expiresAt }] of this.jar) if (this.real < expiresAt) cookies.set(name, value);
    return cookies;
  }

  setCookies({ setCookies }: Outbound) {
    for (const [name, cookie] of setCookies) {
      if (cookie) this.jar.set(name, { value: cookie.value, expiresAt: this.real + cookie.maxAge * 1000 });
      else this.jar.delete(name);
    }
  }

  tab(options: Partial<Options> & { platform?: Partial<Platform> } = {}): Tab {
    const tab = new Tab(this, options);
    this.tabs.push(tab);
    return tab;
  }

  /** Somebody, or the browser, empties the storage. */
  clearStorage(by?: Tab) {
    this.storage.clear();
    this.dispatch('storage', { key: null }, this.tabs.filter((tab) => tab !== by));
  }

  dispatch(type: string, detail: object = {}, tabs = this.tabs) {
    for (const tab of tabs) if (tab.isAlive) tab.hear(type, detail);
  }

  /** The entry that the tabs share. */
  get entry(): any {
    return JSON.parse(this.storage.get('latchkey:https://api.test') ?? 'null');
  }

  get generationInJar() {
    return Number((this.cookies().get('refresh') ?? this.cookies().get('access') ?? '').split('.')[1]);
  }
}

/** All promises that can be kept without time passing are kept. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

export class Tab {
  readonly client: Client;
  readonly signedOut: string[] = [];
  isAlive = true;
  isVisible = true;
  /** Nothing runs here, and events queue. */
  isFrozen = false;
  /** What this tab reads until then, though another tab has stored something newer. */
  private readonly outdated = new Map<string, { value: string | null; until: number }>();
  /** Dies when it next does that. */
  diesAt?: 'store';
  private readonly origin: number;
  private readonly listeners: { type: string; handler: (event: any) => void }[] = [];
  private readonly queue: { task: () => void; isTimer: boolean }[] = [];
  onmessage?: (event: { data: unknown }) => void;

  constructor(
    readonly world: World,
    options: Partial<Options> & { platform?: Partial<Platform> },
  ) {
    // Each tab's clock has an origin of its own.
    this.origin = 7_919 * (world.tabs.length + 1);
    let seed = world.tabs.length + 1;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const storage = {
      getItem: (key: string) => this.read(key),
      setItem: (key: string, value: string) => {
        if (!this.isAlive) return;
        if (world.isStorageFull) throw new DOMException('it is full', 'QuotaExceededError');
        const entry = value.startsWith('{') ? JSON.parse(value) : undefined;
        if (this.diesAt === 'store' && entry && !entry.key && !entry.proof && !entry.change) {
          this.kill();
          return;
        }
        const others = world.tabs.filter((tab) => tab !== this);
        const until = world.time + world.storingTakes;
        for (const tab of others) tab.outdated.set(key, { value: tab.read(key), until });
        this.outdated.delete(key);
        world.storage.set(key, value);
        if (key.endsWith(':lock') && value.includes('?')) world.takeovers++;
        world.at(world.storingTakes + 1, () => world.dispatch('storage', { key }, others));
      },
    };
    this.client = createClient({
      api: 'https://api.test',
      onSignedOut: (reason) => this.signedOut.push(reason),
      ...options,
      platform: {
        fetch: (url, init) => this.fetch(url, init),
        now: () => world.time - this.origin,
        date: () => world.real + world.dateError,
        setTimeout: (callback, milliseconds) => {
          // One that is cleared does not run, even if it waited for a tab that was frozen.
          const timer = world.at(milliseconds, () => {
            world.rings++;
            this.do(() => timer.isDropped || callback(), true);
          });
          return timer;
        },
        clearTimeout: (timer) => {
          if (timer) timer.isDropped = true;
          world.drop(timer);
        },
        random,
        key: () =>
          Array.from({ length: 8 }, () =>
            Math.floor(random() * 2 ** 31)
              .toString(36)
              .padStart(6, '0'),
          ).join(''),
        locks: {
          request: (name, options, callback) => world.locks.request(this, name, options, callback),
        },
        channel: () => {
          const channel = {
            onmessage: undefined as any,
            postMessage: (data: unknown) => {
              if (!this.isAlive) return;
              for (const tab of world.tabs) {
                if (tab !== this) world.at(world.newsTake, () => tab.do(() => tab.onmessage?.({ data })));
              }
            },
            close: () => (this.onmessage = undefined),
          };
          this.onmessage = (event) => channel.onmessage?.(event);
          return channel;
        },
        storage,
        listen: (type, handler) => {
          const listener = { type, handler };
          this.listeners.push(listener);
          return () => this.listeners.splice(this.listeners.indexOf(listener), 1);
        },
        visible: () => this.isVisible,
        ...options.platform,
      },
    });
  }

  private read(key: string): string | null {
    const outdated = this.outdated.get(key);
    return outdated && this.world.time < outdated.until ? outdated.value : (this.world.storage.get(key) ?? null);
  }

  hear(type: string, detail: object = {}) {
    this.do(() => this.listeners.filter((one) => one.type === type).forEach((one) => one.handler({ type, ...detail })));
  }

  do(task: () => void, isTimer = false) {
    if (!this.isAlive) return;
    if (this.isFrozen) this.queue.push({ task, isTimer });
    else task();
  }

  /** The person touches the page. */
  touch() {
    this.hear('pointerdown');
  }

  show(isVisible: boolean) {
    this.isVisible = isVisible;
    this.hear('visibilitychange');
  }

  /** Browsers promise no order between timers and the news that waited. */
  thaw(timers: 'first' | 'last' = 'last') {
    this.isFrozen = false;
    const queue = this.queue.splice(0);
    const [first, last] = [true, false].map((isTimer) => queue.filter((one) => one.isTimer === isTimer));
    const [now, later] = timers === 'first' ? [first, last] : [last, first];
    // Each is a turn of its own: what it has settled goes on before the next.
    now!.forEach(({ task }) => this.world.at(0, () => this.do(task)));
    later!.forEach(({ task }) => this.world.at(100, () => this.do(task)));
  }

  /** The tab is closed: its locks are free, its requests are aborted, its code runs no more. */
  kill() {
    this.isAlive = false;
    this.world.at(0, () => this.world.locks.free(this));
  }

  private fetch(url: string, init: RequestInit): Promise<Response> {
    const { world } = this;
    return new Promise<Response>((resolve, reject) => {
      if (!this.isAlive) return;
      const { signal } = init;
      let isOver = false;
      const fail = (error: unknown) => {
        isOver = true;
        reject(error);
      };
      if (signal?.aborted) return fail(signal.reason);
      signal?.addEventListener('abort', () => fail(signal.reason));
      const inbound: Inbound = {
        method: init.method ?? 'GET',
        path: url.replace('https://api.test', ''),
        body: typeof init.body === 'string' ? JSON.parse(init.body) : undefined,
        headers: new Map(new Headers(init.headers)),
        cookies: init.credentials === 'include' ? world.cookies() : new Map(),
      };
      const failed = () => this.do(() => fail(new TypeError('Failed to fetch')));
      if (!world.online) return void world.at(1, failed);
      const fate = world.fate(inbound, this);
      const { there = 20, back = 20 } = fate;
      if (fate.copyAfter !== undefined) world.at(there + fate.copyAfter, () => world.server.handle(inbound), true);
      world.at(
        there,
        () => {
          if (fate.loses === 'request') return fate.fails && failed();
          const outbound = world.server.handle(inbound);
          world.at(back, () => {
            if (fate.loses === 'answer') return fate.fails && failed();
            // The browser itself keeps the cookies, of every answer that still has a page to go to.
            if (isOver || !this.isAlive) return;
            // Also while that page is frozen.
            if (init.credentials === 'include') world.setCookies(outbound);
            this.do(() => resolve(respond(outbound)));
          });
        },
        true,
      );
    });
  }
}

function respond({ status, body, headers }: Outbound): Response {
  const response = {
    status,
    ok: status < 300,
    headers: new Headers(headers),
    json: async () => {
      if (body === undefined) throw new SyntaxError('no JSON');
      return structuredClone(body);
    },
    clone: () => respond({ status, body, headers, setCookies: new Map() }),
  };
  return response as unknown as Response;
}

interface Wish {
  tab: Tab;
  name: string;
  mode: 'shared' | 'exclusive';
  grant(): void;
}

/** Web Locks: a fair queue for each name, and the dead hold nothing. */
class Locks {
  private held: Wish[] = [];
  private queue: Wish[] = [];

  request<T>(
    tab: Tab,
    name: string,
    { mode, signal }: { mode: 'shared' | 'exclusive'; signal?: AbortSignal },
    callback: () => Promise<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const release = (result: () => void) => {
        if (!tab.isAlive) return;
        this.held = this.held.filter((one) => one !== wish);
        result();
        this.next();
      };
      const wish: Wish = {
        tab,
        name,
        mode,
        // A frozen tab gets the lock, and hears of it when it thaws.
        grant: () =>
          tab.do(() =>
            callback().then(
              (value) => release(() => resolve(value)),
              (error) => release(() => reject(error)),
            ),
          ),
      };
      signal?.addEventListener('abort', () => {
        if (!this.queue.includes(wish)) return;
        this.queue = this.queue.filter((one) => one !== wish);
        reject(signal.reason);
        this.next();
      });
      this.queue.push(wish);
      this.next();
    });
  }

  free(tab: Tab) {
    this.held = this.held.filter((one) => one.tab !== tab);
    this.queue = this.queue.filter((one) => one.tab !== tab);
    this.next();
  }

  private next() {
    for (const name of new Set(this.queue.map((wish) => wish.name))) {
      for (;;) {
        const wish = this.queue.find((one) => one.name === name);
        if (!wish) break;
        const held = this.held.filter((one) => one.name === name);
        const isFree = wish.mode === 'shared' ? held.every(({ mode }) => mode === 'shared') : !held.length;
        if (!isFree) break;
        this.queue = this.queue.filter((one) => one !== wish);
        this.held.push(wish);
        wish.grant();
      }
    }
  }
}

/** An app's Keychain that can fail, and is slow by a turn. */
export class Keychain implements TokenStore {
  text: string | null = null;
  readonly written: any[] = [];
  fails: 'get' | 'set' | undefined;

  async get() {
    if (this.fails === 'get') throw new Error('the keychain is locked');
    return this.text;
  }

  async set(text: string) {
    if (this.fails === 'set') throw new Error('the keychain is full');
    this.text = text;
    this.written.push(JSON.parse(text));
  }
}

/** The same numbers for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
