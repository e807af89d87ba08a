import {
  Fragment,
  StrictMode,
  createContext,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
  type FormEvent,
  type ReactNode,
} from 'react';
import { createRoot } from 'react-dom/client';
import { SessionProvider, latchkey, useSession } from './session';
import { problemInWords, reasonInWords } from './words';

type Fields = Record<string, string>;

let isLoading = true;

/** Takes the focus when the view changes, so that whoever cannot see the change is told of it. */
function Heading({ children }: { children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!isLoading) heading.current?.focus();
    isLoading = false;
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

/** The field that a problem is about, and the element that describes it. */
const ProblemField = createContext<{ name?: string; id?: string }>({});

/** A form that does one thing at a time, and says what went wrong with it. */
function Form({ label, submit, children }: { label: string; submit(fields: Fields): Promise<unknown>; children: ReactNode }) {
  const [[words, name], setProblem] = useState<[words: string, field?: string]>(['']);
  const isBusy = useRef(false);
  const id = useId();
  const onSubmit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (isBusy.current) return;
    isBusy.current = true;
    const form = event.currentTarget;
    setProblem(['']);
    try {
      await submit(Object.fromEntries(new FormData(form)) as Fields);
    } catch (error) {
      const problem = problemInWords(error);
      setProblem(problem);
      if (problem[1]) (form.elements.namedItem(problem[1]) as HTMLElement | null)?.focus();
    } finally {
      isBusy.current = false;
    }
  };
  return (
    <form onSubmit={onSubmit}>
      <p role="alert" id={id}>
        {words}
      </p>
      <ProblemField value={{ name, id }}>{children}</ProblemField>
      <button>{label}</button>
    </form>
  );
}

type FieldProps = { label: string; name: string; type?: string; autoComplete: string; autoCapitalize?: string };

function Field({ label, ...input }: FieldProps) {
  const problem = useContext(ProblemField);
  const isWrong = problem.name === input.name;
  return (
    <label>
      {label} <input required aria-invalid={isWrong || undefined} aria-describedby={isWrong ? problem.id : undefined} {...input} />
    </label>
  );
}

const NameField = () => <Field label="User name" name="username" autoComplete="username" autoCapitalize="none" />;

/** A button outside a form. */
function Button({ label, action }: { label: string; action(): Promise<string | void> }) {
  const [news, setNews] = useState('');
  const [problem, setProblem] = useState('');
  const onClick = () => {
    setNews('');
    setProblem('');
    action().then((words) => setNews(words ?? ''), (error) => setProblem(problemInWords(error)[0]));
  };
  return (
    <>
      <p role="status">{news}</p>
      <p role="alert">{problem}</p>
      <button type="button" onClick={onClick}>
        {label}
      </button>
    </>
  );
}

function Entrance() {
  const { reason, welcome } = useSession();
  const [view, setView] = useState<'signup' | 'verify' | 'login'>(reason ? 'login' : 'signup');
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
  const logIn = async ({ username = '', password = '', remember }: Fields) =>
    welcome(await latchkey.login({ username, password, remember: !!remember }));
  return (
    <Fragment key={view}>
      <Heading>Log in</Heading>
      {reason && <p role="status">{reasonInWords(reason)}</p>}
      <Form label="Log in" submit={logIn}>
        <NameField />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
        <label>
          <input name="remember" type="checkbox" /> Keep me signed in
        </label>
      </Form>
      <button type="button" onClick={() => setView('signup')}>
        I have no account
      </button>
    </Fragment>
  );
}

function App() {
  const { signedIn, fault, ask } = useSession();
  if (signedIn) {
    return (
      <>
        <Heading>Hello, {signedIn.user.username}</Heading>
        <p>You are signed in, in every tab of this browser.</p>
        <Button label="Log out" action={() => latchkey.logout()} />
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
