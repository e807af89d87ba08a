import { LatchkeyError } from 'latchkey-client';
import { StrictMode, useState, type FormEvent, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { SessionProvider, latchkey, useSession } from './session';

type Fields = Record<string, string>;

/** A form that shows the code of whatever went wrong. */
function Form({ label, submit, children }: { label: string; submit(fields: Fields): Promise<unknown>; children: ReactNode }) {
  const [problem, setProblem] = useState('');
  const onSubmit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setProblem('');
    const fields = Object.fromEntries(new FormData(event.currentTarget)) as Fields;
    await submit(fields).catch((error) => setProblem(error instanceof LatchkeyError ? error.code : String(error)));
  };
  return (
    <form onSubmit={onSubmit}>
      {problem && <p role="alert">{problem}</p>}
      {children}
      <button>{label}</button>
    </form>
  );
}

const Field = ({ label, ...input }: { label: string; name: string; type?: string; autoComplete: string }) => (
  <p>
    <label>
      {label} <input required {...input} />
    </label>
  </p>
);

function Entrance() {
  const { reason, welcome } = useSession();
  const [view, setView] = useState<'signup' | 'verify' | 'login'>(reason ? 'login' : 'signup');
  if (view === 'verify') {
    return (
      <>
        <h1>Look in your inbox</h1>
        <Form label="Confirm" submit={({ code }) => latchkey.verify({ code }).then(welcome)}>
          <Field label="Code from the mail" name="code" autoComplete="one-time-code" />
        </Form>
      </>
    );
  }
  const isSignup = view === 'signup';
  const submit = async ({ username = '', email = '', password = '' }: Fields) => {
    if (!isSignup) return welcome(await latchkey.login({ username, password }));
    await latchkey.signUp({ username, email, password });
    setView('verify');
  };
  return (
    <>
      <h1>{isSignup ? 'Sign up' : 'Log in'}</h1>
      {reason && <p role="status">Signed out: {reason}</p>}
      <Form label={isSignup ? 'Sign up' : 'Log in'} submit={submit}>
        <Field label="User name" name="username" autoComplete="username" />
        {isSignup && <Field label="Email" name="email" type="email" autoComplete="email" />}
        <Field
          label="Password"
          name="password"
          type="password"
          autoComplete={isSignup ? 'new-password' : 'current-password'}
        />
      </Form>
      <button type="button" onClick={() => setView(isSignup ? 'login' : 'signup')}>
        {isSignup ? 'I have an account' : 'I have no account'}
      </button>
    </>
  );
}

function App() {
  const { signedIn } = useSession();
  if (signedIn === undefined) return <p>…</p>;
  if (signedIn === null) return <Entrance />;
  return (
    <>
      <h1>Hello, {signedIn.user.username}</h1>
      <button onClick={() => latchkey.logout()}>Log out</button>
    </>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <SessionProvider>
      <App />
    </SessionProvider>
  </StrictMode>,
);
