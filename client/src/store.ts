/** What is kept of the session, and what becomes of it where a browser refuses, forgets or breaks it. */

import type { Kind, Platform, SignedOutReason, TokenStore } from './api.js';

/**
 * What the store holds: one value, replaced in one step, by whoever has the lock alone.
 *
 * Browsers keep a copy of the storage in each process and bring it up to date a moment later, so that a tab which waited
 * for the lock may read the value before. It refreshes or signs out once more then, which costs a request and nothing
 * else.
 *
 * The pending key of a refresh belongs to the refresh from this `n` and leaves with it; those of what replaces the
 * session belong to the session, and leave with it or with a refusal. `n` stands for the session's generation,
 * which no script can see in a cookie; it rises with each stored answer, across sessions too.
 */
export interface Entry {
  n: number;
  id?: string;
  user?: string;
  kind?: Kind;
  /** Seconds that a token of this session lives, when the session's own end does not cut it short. */
  life?: number;
  /** An app's tokens. */
  access?: string;
  refresh?: string;
  /** The `Idempotency-Key` of a refresh that is not answered yet. */
  key?: string;
  /** That of a `/reauthenticate`, which may have replaced the session. */
  proof?: string;
  /** That of a `/password/change`, likewise. */
  change?: string;
  /** What an app's device is known by to its people's accounts. It outlives sessions. */
  device?: string;
  /** Nobody is signed in, and why. */
  out?: SignedOutReason;
}

/** Where the pending key of each route is kept that brings other tokens. */
export const PENDING = { '/refresh': 'key', '/reauthenticate': 'proof', '/password/change': 'change' } as const;

/** localStorage that never throws: it may be missing, no storage at all, closed to this page, or full. */
export interface SafeStorage {
  get(name: string): string | null;
  /** Whether it is stored. */
  set(name: string, text: string): boolean;
}

export function safely(storage: Platform['storage']): SafeStorage {
  return {
    get(name) {
      try {
        const text = storage!.getItem(name);
        return typeof text === 'string' ? text : null;
      } catch {
        return null;
      }
    },
    set(name, text) {
      try {
        storage!.setItem(name, text);
        return true;
      } catch {
        return false;
      }
    },
  };
}

/**
 * An app's store decides alone, and what it throws is passed on. A browser's storage is a way to tell the other tabs:
 * the cookies are the session. So what it forgets is remembered here, and what it refuses is told to them by `tell`.
 */
export function createStore(
  app: TokenStore | undefined,
  storage: SafeStorage,
  name: string,
  tell: (text: string) => void,
) {
  /** The last that this tab has read or written. */
  let memory: string | null = null;
  /** What the storage still holds, having refused what came after it. */
  let outdated: string | null = null;

  const keep = (text: string) => {
    memory = text;
    outdated = storage.get(name);
  };

  return {
    async load(): Promise<Entry> {
      if (app) return parse(await app.get()) ?? { n: 0 };
      const text = storage.get(name);
      const entry = text === outdated ? undefined : parse(text);
      if (!entry) return parse(memory) ?? { n: 0 };
      memory = text;
      outdated = null;
      return entry;
    },
    async save(entry: Entry) {
      const text = JSON.stringify(entry);
      if (app) return app.set(text);
      if (storage.set(name, text)) {
        memory = text;
        outdated = null;
      } else {
        keep(text);
        tell(text);
      }
    },
    /** Takes in what another tab could not store. */
    keep,
  };
}

function parse(text: string | null): Entry | undefined {
  try {
    const entry = JSON.parse(text!);
    return typeof entry.n === 'number' ? entry : undefined;
  } catch {
    // Somebody else wrote it, or nobody has.
    return undefined;
  }
}
