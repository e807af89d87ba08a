/** For browsers, and for the servers that render their pages. */

import type { Client, Options } from './api.js';
import { clientOn } from './client.js';
import { browser } from './platform.js';

export * from './api.js';

/** Makes a client. One for each page, or app. */
export function createClient(options: Options): Client {
  return clientOn(browser(), globalThis.location?.href, options);
}
