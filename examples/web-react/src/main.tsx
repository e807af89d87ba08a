import { Fragment, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Button, Field, Form, Heading, NameField, type Fields } from './form';
import { SessionProvider, latchkey, useSession } from './session';
import { PasswordDialog, Settings } from './settings';
import { problemInWords, reasonInWords } from './words';

function Entrance() {
  const { reason, welcome } = useSession();
  const [view, setView] = useState<'signup' | 'verify' | 'login' | 'forgot' | 'reset'>(reason ? 'login' : 'signup');
  const [news, setNews] = useState(reason && reasonInWords(reason));
  if (view === 'verify') {
    const resend = async () => {
      await latchkey.resend();
      return 'Another mail is on its way. The code before is void.';
    };
    return (
      <Fragment key={view}>
        <Heading>Look in your inbox</Heading>
        <Form label="Confirm" submit={async ({ code = '' }) => welcome(await latchkey.verify({ code: code.trim() }))}>
          <Field label="Code from the mail" name="code" autoComplete="one-time-code" />
        </Form>
        <Button label="Send again" action={resend} />
      </Fragment>
    );
  }
  if (view === 'signup') {
    const signUp = async ({ username = '', email = '', password = '' }: Fields) => {
      await latchkey.signUp({ username, email, password });
      setView('verify');
    };
    return (
      <Fragment key={view}>
        <Heading>Sign up</Heading>
        <Form label="Sign up" submit={signUp}>
          <NameField />
          <Field label="Email" name="email" type="email" autoComplete="email" />
          <Field label="Password" name="password" type="password" autoComplete="new-password" />
        </Form>
        <button type="button" onClick={() => setView('login')}>
          I have an account
        </button>
      </Fragment>
    );
  }
  if (view === 'forgot') {
    const forgot = async ({ name = '' }: Fields) => {
      await latchkey.forgotPassword(name.includes('@') ? { email: name } : { username: name });
      setView('reset');
    };
    return (
      <Fragment key={view}>
        <Heading>A new password</Heading>
        <Form label="Send a mail" submit={forgot}>
          <Field label="User name or email" name="name" autoComplete="username" autoCapitalize="none" />
        </Form>
        <button type="button" onClick={() => setView('login')}>
          Log in
        </button>
      </Fragment>
    );
  }
  if (view === 'reset') {
    const reset = async ({ code = '', password = '' }: Fields) => {
      await latchkey.resetPassword({ code: code.trim(), password });
      setNews('Your password is set. Log in with it.');
      setView('login');
    };
    return (
      <Fragment key={view}>
        <Heading>Look in your inbox</Heading>
        <p>If there is such an account, a mail is on its way. Open its link, on any device, or give its code here.</p>
        <Form label="Set the password" submit={reset}>
          <Field label="Code from the mail" name="code" autoComplete="one-time-code" />
          <Field label="New password" name="password" type="password" autoComplete="new-password" />
        </Form>
      </Fragment>
    );
  }
  const logIn = async ({ username = '', password = '', remember }: Fields) =>
    welcome(await latchkey.login({ username, password, remember: !!remember }));
  return (
    <Fragment key={view}>
      <Heading>Log in</Heading>
      {news && <p role="status">{news}</p>}
      <Form label="Log in" submit={logIn}>
        <NameField />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
        <label>
          <input name="remember" type="checkbox" /> Keep me signed in
        </label>
      </Form>
      <button type="button" onClick={() => setView('forgot')}>
        I have forgotten my password
      </button>
      <button type="button" onClick={() => setView('signup')}>
        I have no account
      </button>
    </Fragment>
  );
}

function Home({ username }: { username: string }) {
  const [isInSettings, setIsInSettings] = useState(false);
  if (isInSettings) return <Settings key="settings" close={() => setIsInSettings(false)} />;
  return (
    <Fragment key="home">
      <Heading>Hello, {username}</Heading>
      <p>You are signed in, in every tab of this browser.</p>
      <button type="button" onClick={() => setIsInSettings(true)}>
        Account settings
      </button>
      <Button label="Log out" action={() => latchkey.logout()} />
    </Fragment>
  );
}

function App() {
  const { signedIn, fault, ask } = useSession();
  if (signedIn) {
    return (
      <>
        <Home username={signedIn.user.username} />
        <PasswordDialog />
      </>
    );
  }
  if (signedIn === null) return <Entrance />;
  if (!fault) return <h1>…</h1>;
  return (
    <>
      <h1>No answer</h1>
      <p role="alert">{problemInWords(fault)[0]}</p>
      <p>Whether you are signed in is not known until the server answers.</p>
      <button type="button" onClick={ask}>
        Try again
      </button>
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
