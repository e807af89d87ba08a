/** For React Native, and whatever else is no browser: an app's sessions, with tokens in a store. */

import type { Client, Options } from './api.js';
import { clientOn } from './client.js';
import { anywhere } from './platform.js';

export * from './api.js';

/** Makes a client. One for each page, or app. */
export function createClient(options: Options): Client {
  if (!options.store) throw new TypeError('an app needs a `store` for its tokens');
  return clientOn(anywhere(), undefined, options);
}
