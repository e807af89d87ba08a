/** What people read for the client's codes and reasons. */

import { LatchkeyError, type Code, type SignedOutReason } from 'latchkey-client';

const REASONS: Partial<Record<SignedOutReason, string>> = {
  idle: 'You were signed out after some time without use.',
  expired: 'Your session has run out.',
  reused: 'Somebody else used a copy of your session. It has been ended.',
  replaced: 'Somebody else signed in, in this browser.',
  deleted: 'Your account is deleted.',
};

/** What to say, and the field that it is about: the first of these that the form has. */
type Problem = [words: string, ...fields: string[]];

const PROBLEMS: Partial<Record<Code | 'other_name', Problem>> = {
  invalid_username: ['This user name is not possible.', 'username'],
  username_taken: ['This user name is taken.', 'username'],
  invalid_email: ['This is not an address that mail can be sent to.', 'email'],
  email_taken: ['This address has an account already.'],
  weak_password: ['This password is too short, too easy to guess, or has leaked somewhere.', 'new_password', 'password'],
  invalid_credentials: ['User name or password is wrong.', 'password'],
  invalid_verification: ['This code is wrong, or too old.', 'code'],
  wrong_password: ['This is not your password.', 'password'],
  reauthentication_required: ['Nothing was changed, as the password was not given.'],
  other_name: ['This is not your user name.', 'typed'],
  rate_limited: ['Too many tries. Wait a minute.'],
  network: ['The server does not answer. Try again.'],
  unavailable: ['The server is not available. Try again.'],
};

export const reasonInWords = (reason: SignedOutReason) => REASONS[reason] ?? 'You are signed out.';

/** A page's own problem, with a code of its own. */
export class OwnProblem extends Error {
  constructor(readonly code: 'other_name') {
    super(code);
  }
}

export function problemInWords(error: unknown): Problem {
  const code = error instanceof LatchkeyError || error instanceof OwnProblem ? error.code : undefined;
  return (code && PROBLEMS[code]) ?? [`Something went wrong (${code ?? String(error)}).`];
}
