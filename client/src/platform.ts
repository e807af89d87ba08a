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

/** What every engine has, React Native's too; nothing here asks for a browser. */
export function anywhere(): Platform {
  return {
    fetch: (url, init) => fetch(url, init),
    now: () => performance.now(),
    date: () => Date.now(),
    setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    key: () =>
      Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''),
    locks: processLocks(),
    listen: () => () => {},
    visible: () => true,
  };
}

/** What a browser adds, as far as it is there: servers render pages, too. */
export function browser(): Platform {
  const { document, navigator } = globalThis;
  const here = anywhere();
  return {
    ...here,
    locks: navigator?.locks ? webLocks(navigator.locks, here.locks) : here.locks,
    channel: typeof BroadcastChannel === 'function' ? (name) => new BroadcastChannel(name) : undefined,
    storage: localStorageIfAny(),
    listen(type, handler) {
      if (!document) return () => {};
      addEventListener(type, handler, { capture: true, passive: true });
      return () => removeEventListener(type, handler, { capture: true });
    },
    visible: () => document?.visibilityState !== 'hidden',
  };
}

function localStorageIfAny(): Storage | undefined {
  try {
    return globalThis.localStorage;
  } catch {
    // A page may be kept from its storage.
    return undefined;
  }
}

/** A page that is kept from its storage is kept from the locks, too, and shares its session with nobody. */
function webLocks(locks: LockManager, otherwise: Platform['locks']): Platform['locks'] {
  return {
    async request(name, options, callback) {
      let isGranted = false;
      const run = () => {
        isGranted = true;
        return callback();
      };
      try {
        return await locks.request(name, options, run);
      } catch (error) {
        if (isGranted || (error as Error).name !== 'SecurityError') throw error;
        return otherwise.request(name, options, callback);
      }
    },
  };
}
