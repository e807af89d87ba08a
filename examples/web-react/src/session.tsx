/** Who is signed in, for all components: one client for the page, outside React. */

import { createClient, type SignedIn, type SignedOutReason } from 'latchkey-client';
import { createContext, useContext, useEffect, useState, type ReactNode } from 'react';

let signedOut: (reason: SignedOutReason) => void = () => {};

export const latchkey = createClient({
  api: import.meta.env.VITE_API ?? 'http://localhost:3000',
  onSignedOut: (reason) => signedOut(reason),
});

interface Session {
  /** `undefined` while the server has not answered yet. */
  signedIn: SignedIn | null | undefined;
  reason: SignedOutReason | undefined;
  /** Takes in what `login` or `verify` brought. */
  welcome(signedIn: SignedIn): void;
}

const Context = createContext<Session>(null!);
export const useSession = () => useContext(Context);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [signedIn, setSignedIn] = useState<SignedIn | null>();
  const [reason, setReason] = useState<SignedOutReason>();

  useEffect(() => {
    signedOut = (why) => {
      setSignedIn(null);
      setReason(why);
    };
    latchkey.me().then(setSignedIn, () => setSignedIn(null));
  }, []);

  const welcome = (found: SignedIn) => {
    setSignedIn(found);
    setReason(undefined);
  };
  return <Context value={{ signedIn, reason, welcome }}>{children}</Context>;
}
