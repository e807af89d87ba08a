/** What people read for the client's codes and reasons. */

import { LatchkeyError, type Code, type SignedOutReason } from 'latchkey-client';

const REASONS: Partial<Record<SignedOutReason, string>> = {
  idle: 'You were signed out after some time without use.',
  expired: 'Your session has run out.',
  reused: 'Somebody else used a copy of your session. It has been ended.',
  replaced: 'Somebody else signed in, in this browser.',
};

/** What to say of a code, and the field that it is about. */
const PROBLEMS: Partial<Record<Code, [words: string, field?: string]>> = {
  invalid_username: ['This user name is not possible.', 'username'],
  username_taken: ['This user name is taken.', 'username'],
  invalid_email: ['This is not an address that mail can be sent to.', 'email'],
  email_taken: ['This address has an account already.'],
  weak_password: ['This password is too short, too easy to guess, or has leaked somewhere.', 'password'],
  invalid_credentials: ['User name or password is wrong.', 'password'],
  invalid_verification: ['This code is wrong, or too old.', 'code'],
  rate_limited: ['Too many tries. Wait a minute.'],
  network: ['The server does not answer. Try again.'],
  unavailable: ['The server is not available. Try again.'],
};

export const reasonInWords = (reason: SignedOutReason) => REASONS[reason] ?? 'You are signed out.';

export function problemInWords(error: unknown): [words: string, field?: string] {
  const code = error instanceof LatchkeyError ? error.code : undefined;
  return (code && PROBLEMS[code]) ?? [`Something went wrong (${code ?? String(error)}).`];
}
