/**
 * When to refresh, when to ask the server, and when a person has been idle for too long.
 *
 * All times are of this tab's monotonic clock. No clock is one for all tabs and through sleep (each renderer process
 * has an origin of its own, and the monotonic clock stands still in sleep on some systems), so only durations go from
 * tab to tab. What a tab cannot know, it asks the server: after sleep, and when a hidden tab is seen again.
 */

import type { Platform } from './api.js';
import type { Entry, SafeStorage } from './store.js';

/** Signs of a person. */
const ACTIVITY = ['pointerdown', 'pointermove', 'keydown', 'wheel'];
/** A tab looks around at least this often. */
const LOOK = 60_000;
/** The clocks drift apart by this much only if the device slept, or its clock was set. */
const JUMP = 5_000;

export function createTimer(
  platform: Platform,
  storage: SafeStorage,
  name: string,
  does: {
    /** The session that this tab acts for. */
    session(): Entry | undefined;
    /** Looks into the store. */
    look(): Promise<unknown>;
    refresh(): Promise<unknown>;
    ask(): Promise<unknown>;
    signOutIdle(isStillIdle: () => boolean): Promise<unknown>;
  },
) {
  const { now } = platform;
  const beatName = name + ':active';
  const drift = () => platform.date() - now();

  /** The token lives until then at least; `undefined`: who knows. */
  let deadline: number | undefined;
  let refreshAt: number | undefined;
  let renewedAt = -Infinity;
  let lastActive = now();
  /** Whether to ask the server before trusting this tab's own reckoning. */
  let unsure = true;
  let failures = 0;
  /** What failed is not tried again before. */
  let pausedUntil = -Infinity;
  let lastDrift = drift();
  let beat = storage.get(beatName);
  let beatAt = -Infinity;
  let timer: unknown;
  let ticking = false;

  /** In browser sessions the token's life is the idle time. */
  const idleAt = ({ kind, life }: Entry) => (kind === 'browser' && life ? lastActive + life * 1000 : Infinity);

  /** A counter rather than a time tells tabs of activity, also those that were frozen when it happened. */
  function someoneWasActive() {
    const latest = storage.get(beatName);
    // A storage that was emptied tells nothing.
    if (latest === null || latest === beat) return false;
    beat = latest;
    lastActive = now();
    return true;
  }

  function arm() {
    platform.clearTimeout(timer);
    const session = does.session();
    if (!session) return;
    const due = [idleAt(session)];
    if (refreshAt !== undefined && (refreshAt > now() || lastActive > renewedAt)) due.push(refreshAt);
    if (session.kind === 'browser') due.push(now() + (unsure && platform.visible() && !failures ? 1000 : LOOK));
    const next = Math.max(Math.min(...due), pausedUntil);
    if (next === Infinity) return;
    timer = platform.setTimeout(tick, Math.min(Math.max(next - now(), 50), 2 ** 30));
    // A process of Node is not kept running for it.
    (timer as { unref?(): void })?.unref?.();
  }

  async function tick() {
    if (ticking) return;
    ticking = true;
    try {
      await does.look();
      const session = does.session();
      if (!session) return;
      const latestDrift = drift();
      if (Math.abs(latestDrift - lastDrift) > JUMP) forget();
      lastDrift = latestDrift;
      const isIdle = () => !someoneWasActive() && now() >= idleAt(session);
      const isToAsk = () => unsure && session.kind === 'browser' && platform.visible();
      const isToRefresh = () => refreshAt !== undefined && now() >= refreshAt && lastActive > renewedAt;
      let isStillDue = () => false;
      if (isIdle()) {
        await does.signOutIdle((isStillDue = isIdle));
      } else if (isToAsk()) {
        isStillDue = isToAsk;
        await does.ask();
      } else if (isToRefresh()) {
        isStillDue = isToRefresh;
        await does.refresh();
      }
      if (does.session()?.n === session.n && isStillDue()) throw new Error('it had no effect');
    } catch {
      // Network faults sign nobody out: later, or when the device is online again. Nothing is repeated without a pause.
      failures++;
      refreshAt = pausedUntil = now() + Math.min(1000 * 2 ** failures, LOOK) * (0.5 + platform.random() / 2);
    } finally {
      ticking = false;
      arm();
    }
  }

  /** A token that lives for that many seconds, from then on, is refreshed in the last quarter of its life. */
  function plan(from: number, seconds: number) {
    // The server counts whole seconds, so that there may be one less.
    const lifetime = Math.max(0, seconds - 1) * 1000;
    deadline = from + lifetime;
    refreshAt = from + lifetime * (0.75 + 0.15 * platform.random());
  }

  /** The token may be older than this tab reckons, or newer. */
  function forget() {
    deadline = refreshAt = undefined;
    unsure = true;
  }

  /** The person is there. */
  function active() {
    lastActive = now();
    if (lastActive - beatAt >= 1000) {
      beatAt = lastActive;
      storage.set(beatName, (beat = String(platform.random())));
    }
    if (refreshAt !== undefined && lastActive >= refreshAt) void tick();
  }

  /** Something may have happened while nobody looked. */
  function wake() {
    if (failures) refreshAt = now();
    pausedUntil = -Infinity;
    void tick();
  }

  const stops = [
    ...ACTIVITY.map((type) => platform.listen(type, active)),
    ...['online', 'pageshow'].map((type) => platform.listen(type, wake)),
    platform.listen('visibilitychange', () => {
      if (!platform.visible()) return;
      active();
      wake();
    }),
    platform.listen('storage', ({ key }) => {
      if (key === beatName) someoneWasActive();
      // `null`: all of it was removed.
      if (key === name || key === null) does.look().catch(() => {});
    }),
  ];

  return {
    active,
    arm,
    /** A refresh that was sent then brought a token for that many seconds; `isLast`: up to the session's own end. */
    renewed(sentAt: number, expiresIn: number, isLast: boolean) {
      renewedAt = sentAt;
      plan(sentAt, expiresIn);
      // Nothing is gained by refreshing the last one sooner.
      if (isLast) refreshAt = sentAt + expiresIn * 1000;
      failures = 0;
      unsure = false;
      arm();
    },
    /** The same, from another tab. Nobody knows for how long the news waited for a hidden one. */
    heard(expiresIn: number, isLast: boolean) {
      this.renewed(now(), expiresIn, isLast);
      unsure = !platform.visible();
    },
    /** The server answered a request that was sent then, and in browser sessions extends what is past half its life. */
    asked(sentAt: number, { kind, life }: Entry) {
      if (unsure && kind === 'browser') {
        plan(sentAt, (life ?? 0) / 2);
      }
      unsure = false;
      failures = 0;
      arm();
    },
    forget,
    refreshIn: () => (refreshAt !== undefined && does.session() ? Math.max(0, refreshAt - now()) : undefined),
    isExpired: () => deadline !== undefined && now() >= deadline,
    stop() {
      platform.clearTimeout(timer);
      stops.forEach((stop) => stop());
    },
  };
}
