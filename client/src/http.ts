/** One exchange with the API: its time limit, and what an answer says. */

import { LatchkeyError, type Code, type Platform } from './api.js';

/** Codes for the answers of API Gateway itself, which have none. */
const BARE: Record<number, Code> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  429: 'rate_limited',
  500: 'internal',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable',
};

/**
 * The problem that an answer carries; without a `code` if it is not one of Latchkey's. Members of other types than they
 * should have come from somebody else on the way, and are left out.
 */
export async function problemIn(response: Response): Promise<{ code?: Code; detail?: string; request_id?: string }> {
  const problem = await response.json().catch(() => null);
  const text = (name: string) => (isText(problem?.[name]) ? problem[name] : undefined);
  const code = text('code') as Code | undefined;
  return code ? { code, detail: text('detail'), request_id: text('request_id') } : {};
}

export const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

/** Throws unless an answer is an object, as those of Latchkey's routes are that have a body. */
export function asObject(answer: any): any {
  if (Object(answer) !== answer || Array.isArray(answer)) throw new LatchkeyError('unexpected', 200);
  return answer;
}

/** What a `Retry-After` says in seconds. A date is none: nobody knows how wrong the device's own is. */
const secondsOf = (header: string | null) => (/^[0-9]{1,9}$/.test(header ?? '') && Number(header)) || undefined;

/** Reads the answer of one of Latchkey's own routes. */
export async function read(response: Response): Promise<any> {
  if (response.ok) return response.status === 204 ? undefined : response.json();
  const { status } = response;
  const { code, detail, request_id } = await problemIn(response);
  const retryAfter = secondsOf(response.headers.get('retry-after'));
  throw new LatchkeyError(code ?? BARE[status] ?? 'unexpected', status, detail, retryAfter, request_id);
}

/**
 * Sends a request and uses its answer. When the time is up the request is aborted, and its answer is ignored even by a
 * `fetch` that cannot abort.
 */
export async function exchange<T>(
  platform: Platform,
  url: string,
  init: RequestInit,
  timeout: number,
  use: (response: Response) => T | Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const { signal } = init;
  const cancel = () => abort.abort(signal!.reason);
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel);
  let timer: unknown;
  const late = new Promise<never>((_, reject) => {
    timer = platform.setTimeout(() => {
      const error = new LatchkeyError('network', 0, 'no answer in time');
      reject(error);
      abort.abort(error);
    }, timeout);
  });
  try {
    return await Promise.race([platform.fetch(url, { ...init, signal: abort.signal }).then(use), late]);
  } finally {
    platform.clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
  }
}
