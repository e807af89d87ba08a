/**
 * One lock for all tabs that share the store: requests share it, whoever changes cookies or store has it alone.
 *
 * A tab that holds it, or waits for it, may be suspended for as long as its system likes. So nobody waits much longer
 * than `timeout`; and when somebody has waited for longer than anybody awake can hold it, all go on with another lock.
 * Nothing is sent under that one until whatever was sent under the one before is dead, and whoever wakes up under the
 * one before sends and stores nothing more: `docs/decisions/0020-waiting-for-the-lock.md` says why.
 */

import { LatchkeyError, type Platform } from './api.js';
import type { SafeStorage } from './store.js';

/** Milliseconds after which a request has been answered, or never will be: API Gateway waits for 30 s. */
const MESSAGE_LIFE = 30_000;
/** Milliseconds for timers that run late. */
const MARGIN = 5_000;

/** Whether the others have gone on with another lock. */
export type IsLost = () => boolean;

export interface Lock {
  /** Runs `callback` with the lock held. `signal` is a caller's own, and ends the waiting. */
  hold<T>(
    mode: 'shared' | 'exclusive',
    callback: (isLost: IsLost) => Promise<T>,
    signal?: AbortSignal | null,
  ): Promise<T>;
  /** Stops its listener. */
  stop(): void;
}

export const lost = () => new LatchkeyError('network', 0, 'another tab has the lock');

export function createLock(
  platform: Platform,
  name: string,
  timeout: number,
  /** Where all who share the lock see which it is. `undefined`: there is one for ever. */
  storage: SafeStorage | undefined,
): Lock {
  const { locks } = platform;
  const life = Math.max(timeout, MESSAGE_LIFE);
  const [stateName, turnName] = [name + ':lock', name + ':turn'];

  /** Which lock is in use; and when that began, by the date, while what was sent before may still be alive. */
  const state = () => (storage?.get(stateName) ?? '').split('?');
  const current = () => state()[0];
  /** Differs whenever somebody gets the lock alone: those who wait see that it moves. */
  const turn = () => storage?.get(turnName);
  /** Those who wait in this tab: each looks whether the lock that it waits for is still in use. */
  const waiters = new Set<() => void>();
  const lookAll = () => [...waiters].forEach((look) => look());
  const next = (count: string | null | undefined) => String((Number(count) || 0) + 1);
  const lockOf = (id: string | undefined) => (id ? `${name}:${id}` : name);

  /** With the lock of that id held. */
  async function waitForTheDead(id: string) {
    const [, began] = state();
    // The mark of a browser that was closed meanwhile may be found much later.
    if (!began || Math.abs(platform.date() - Number(began)) > 2 * life) return;
    await new Promise<void>((resolve) => platform.setTimeout(resolve, life));
    if (current() === id) storage?.set(stateName, id);
  }

  function goOnWithAnother() {
    const id = next(current());
    if (!storage?.set(stateName, `${id}?${platform.date()}`)) return;
    locks.request(lockOf(id), { mode: 'exclusive' }, () => waitForTheDead(id)).catch(() => {});
    lookAll();
  }

  const hold: Lock['hold'] = (mode, callback, signal) =>
    new Promise((resolve, reject) => {
      let isWaiting = true;
      let leave = () => {};

      function giveUp(error: unknown) {
        isWaiting = false;
        end();
        reject(error);
        // What stays in the queue finds out that nothing moves.
        if (!storage || signal?.aborted) leave();
      }
      const cancel = () => isWaiting && giveUp(signal!.reason ?? new Error('aborted'));
      // Somewhat later than a request that hangs is given up, so that who waited for it gets its turn.
      const limit = platform.setTimeout(() => giveUp(lost()), 1.1 * timeout);
      const end = () => {
        platform.clearTimeout(limit);
        signal?.removeEventListener('abort', cancel);
      };

      function ask() {
        const id = current()!;
        const isLost = () => current() !== id;
        const queue = new AbortController();
        let seenTurn = turn();
        let watch: unknown;
        leave = () => {
          platform.clearTimeout(watch);
          waiters.delete(look);
          queue.abort();
        };
        function look() {
          if (!isLost()) return;
          leave();
          if (isWaiting) ask();
        }
        function lookLater() {
          watch = platform.setTimeout(() => {
            if (turn() === seenTurn && !isLost()) goOnWithAnother();
            look();
            seenTurn = turn();
            // It moves, or cannot be changed. For a caller who has given up nobody needs to stay.
            if (isLost()) return;
            if (isWaiting) lookLater();
            else leave();
          }, life + MARGIN);
          (watch as { unref?(): void })?.unref?.();
        }
        waiters.add(look);
        lookLater();

        let isDone = false;
        const run = async () => {
          platform.clearTimeout(watch);
          waiters.delete(look);
          if (isWaiting && !isLost()) await waitForTheDead(id);
          if (!isWaiting || isLost()) return undefined;
          isDone = true;
          isWaiting = false;
          end();
          if (mode === 'exclusive') storage?.set(turnName, next(turn()));
          return callback(isLost);
        };
        locks.request(lockOf(id), { mode, signal: queue.signal }, run).then(
          (value) => {
            if (isDone) resolve(value!);
            // While it waited, the others went on with another.
            else if (isWaiting) ask();
          },
          (error) => {
            if (queue.signal.aborted) return;
            leave();
            end();
            reject(error);
          },
        );
      }

      signal?.addEventListener('abort', cancel);
      if (signal?.aborted) cancel();
      else ask();
    });

  return { hold, stop: platform.listen('storage', ({ key }) => key === stateName && lookAll()) };
}
