/** Who is signed in, for all components: one client for the page, outside React. */

import { createClient, type LatchkeyError, type SignedIn, type SignedOutReason } from 'latchkey-client';
import { createContext, useContext, useEffect, useState, type ReactNode } from 'react';

let signedOut: (reason: SignedOutReason) => void = () => {};
let signedInElsewhere = () => {};
type AskPassword = (problem?: LatchkeyError) => Promise<string | undefined>;
let askPassword: AskPassword = async () => undefined;

/** Says who asks for the password, until what it returns is called. */
export function onPasswordAsked(ask: AskPassword) {
  askPassword = ask;
  return () => {
    askPassword = async () => undefined;
  };
}

export const latchkey = createClient({
  api: import.meta.env.VITE_API ?? 'http://localhost:3000',
  onSignedOut: (reason) => signedOut(reason),
  // In another tab: by the mailed link, say.
  onSignedIn: () => signedInElsewhere(),
  onReauthenticate: (problem) => askPassword(problem),
});

interface Session {
  /** `undefined` while the server has not answered yet. */
  signedIn: SignedIn | null | undefined;
  /** Why nobody is signed in any more. */
  reason: SignedOutReason | undefined;
  /** Why the server has not answered. */
  fault: unknown;
  /** Asks the server who is signed in. */
  ask(): void;
  /** Takes in what `login`, `verify`, `updateMe` or `me` brought. */
  welcome(signedIn: SignedIn): void;
}

const Context = createContext<Session>(null!);
export const useSession = () => useContext(Context);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [signedIn, setSignedIn] = useState<SignedIn | null>();
  const [reason, setReason] = useState<SignedOutReason>();
  const [fault, setFault] = useState<unknown>();

  const ask = () => {
    setFault(undefined);
    // No answer does not mean nobody.
    latchkey.me().then(setSignedIn, setFault);
  };
  useEffect(() => {
    signedOut = (why) => {
      setSignedIn(null);
      setReason(why);
    };
    signedInElsewhere = ask;
    ask();
  }, []);

  const welcome = (found: SignedIn) => {
    setSignedIn(found);
    setReason(undefined);
  };
  return <Context value={{ signedIn, reason, fault, ask, welcome }}>{children}</Context>;
}
