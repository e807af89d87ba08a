/** What is kept of the session. */

import type { Kind, SignedOutReason } from './api.js';

/**
 * What the store holds: one value, replaced in one step, by whoever has the lock alone.
 *
 * Browsers keep a copy of the storage in each process and bring it up to date a moment later, so that a tab which waited
 * for the lock may read the value before. It refreshes or signs out once more then, which costs a request and nothing
 * else.
 *
 * The pending key belongs to the refresh from this `n` and leaves with it. `n` stands for the session's generation,
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
  /** Nobody is signed in, and why. */
  out?: SignedOutReason;
}
