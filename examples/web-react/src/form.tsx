/** What every view is made of. */

import {
  createContext,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
  type FormEvent,
  type ReactNode,
} from 'react';
import { problemInWords } from './words';

let isLoading = true;

export type Fields = Record<string, string>;

/** Takes the focus when the view changes, so that whoever cannot see the change is told of it. */
export function Heading({ children }: { children: ReactNode }) {
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

/** A form that does one thing at a time, and says what `submit` brings, or what went wrong with it. */
export function Form({ label, submit, children }: { label: string; submit(fields: Fields): Promise<string | void>; children: ReactNode }) {
  const [news, setNews] = useState('');
  const [[words, name], setProblem] = useState<[words: string, field?: string]>(['']);
  const isBusy = useRef(false);
  const id = useId();
  const onSubmit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (isBusy.current) return;
    isBusy.current = true;
    const form = event.currentTarget;
    setProblem(['']);
    setNews('');
    try {
      const words = await submit(Object.fromEntries(new FormData(form)) as Fields);
      form.reset();
      setNews(words ?? '');
    } catch (error) {
      const [words, ...names] = problemInWords(error);
      const name = names.find((name) => form.elements.namedItem(name));
      setProblem([words, name]);
      if (name) (form.elements.namedItem(name) as HTMLElement).focus();
    } finally {
      isBusy.current = false;
    }
  };
  return (
    <form onSubmit={onSubmit}>
      <p role="status">{news}</p>
      <p role="alert" id={id}>
        {words}
      </p>
      <ProblemField value={{ name, id }}>{children}</ProblemField>
      <button>{label}</button>
    </form>
  );
}

type FieldProps = {
  label: string;
  name: string;
  type?: string;
  autoComplete: string;
  autoCapitalize?: string;
  defaultValue?: string;
};

export function Field({ label, ...input }: FieldProps) {
  const problem = useContext(ProblemField);
  const isWrong = problem.name === input.name;
  return (
    <label>
      {label} <input required aria-invalid={isWrong || undefined} aria-describedby={isWrong ? problem.id : undefined} {...input} />
    </label>
  );
}

export const NameField = (props: { defaultValue?: string }) => (
  <Field label="User name" name="username" autoComplete="username" autoCapitalize="none" {...props} />
);

/** A button outside a form. */
export function Button({ label, action }: { label: string; action(): Promise<string | void> }) {
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
