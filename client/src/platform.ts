/** What the client asks of the world, as browsers and apps offer it. */

import type { Platform } from './api.js';

/** A fair lock within this process: those who share it wait for whoever asked before to have it alone. */
export function processLocks(): Platform['locks'] {
  let everyone: Promise<unknown> = Promise.resolve();
  let exclusive = everyone;
  return {
    request(_name, { mode }, callback) {
      const result = (mode === 'shared' ? exclusive : everyone).then(callback);
      everyone = Promise.allSettled([everyone, result]);
      if (mode === 'exclusive') exclusive = everyone;
      return result;
    },
  };
}

/** The defaults, of whatever is there. */
export function defaults(): Platform {
  const { document, navigator } = globalThis;
  let storage: Storage | undefined;
  try {
    storage = globalThis.localStorage;
  } catch {
    // A page may be kept from its storage.
  }
  return {
    fetch: (url, init) => fetch(url, init),
    now: () => performance.now(),
    date: () => Date.now(),
    setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    key: () =>
      Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''),
    locks: (navigator?.locks as Platform['locks'] | undefined) ?? processLocks(),
    channel: typeof BroadcastChannel === 'function' ? (name) => new BroadcastChannel(name) : undefined,
    storage,
    listen(type, handler) {
      if (!document) return () => {};
      addEventListener(type, handler, { capture: true, passive: true });
      return () => removeEventListener(type, handler, { capture: true });
    },
    visible: () => document?.visibilityState !== 'hidden',
  };
}
