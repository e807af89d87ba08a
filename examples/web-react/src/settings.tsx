/** What an account's owner may change, and the dialog that asks for the password when a change takes that. */

import { useEffect, useRef, useState } from 'react';
import { Field, Form, Heading, NameField, type Fields } from './form';
import { latchkey, onPasswordAsked, useSession } from './session';
import { OwnProblem, problemInWords } from './words';

export function Settings({ close }: { close(): void }) {
  const { signedIn, welcome } = useSession();
  /** A change of address that waits for its code. */
  const [changeId, setChangeId] = useState<string>();
  const { username, email } = signedIn!.user;

  const rename = async (fields: Fields) => {
    welcome(await latchkey.updateMe({ username: fields.username! }));
    return 'Your name is changed.';
  };
  const changeEmail = async (fields: Fields) => {
    setChangeId((await latchkey.changeEmail(fields.email!)).change_id);
    return 'A code is on its way to the new address.';
  };
  const confirmEmail = async ({ code = '' }: Fields) => {
    await latchkey.confirmEmail({ change_id: changeId!, code: code.trim() });
    const found = await latchkey.me();
    if (found) welcome(found);
    setChangeId(undefined);
  };
  const changePassword = async ({ password = '', new_password = '' }: Fields) => {
    await latchkey.changePassword(password, new_password);
    return 'Your password is changed. You are signed out everywhere else.';
  };
  const remove = async ({ typed = '' }: Fields) => {
    if (typed.trim() !== username) throw new OwnProblem('other_name');
    await latchkey.deleteAccount();
  };
  return (
    <>
      <Heading>Account settings</Heading>
      <Form label="Change the name" submit={rename}>
        <NameField key={username} defaultValue={username} />
      </Form>
      <p role="status">Your address is {email}.</p>
      <Form key={email} label="Change the email" submit={changeEmail}>
        <Field label="New email" name="email" type="email" autoComplete="email" />
      </Form>
      {changeId && (
        <Form label="Confirm" submit={confirmEmail}>
          <Field label="Code from the mail" name="code" autoComplete="one-time-code" />
        </Form>
      )}
      <Form label="Change the password" submit={changePassword}>
        <Field label="Present password" name="password" type="password" autoComplete="current-password" />
        <Field label="New password" name="new_password" type="password" autoComplete="new-password" />
      </Form>
      <Form label="Delete the account" submit={remove}>
        <Field label={`Type ${username} to delete the account`} name="typed" autoComplete="off" autoCapitalize="none" />
      </Form>
      <button type="button" onClick={close}>
        Back
      </button>
    </>
  );
}

/** Asks for the password; nothing, if it is closed without. */
export function PasswordDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const answer = useRef<(password?: string) => void>(undefined);
  const [problem, setProblem] = useState('');

  useEffect(
    () =>
      onPasswordAsked((error) => {
        setProblem(error ? problemInWords(error)[0] : '');
        dialog.current!.returnValue = '';
        dialog.current!.showModal();
        return new Promise((resolve) => (answer.current = resolve));
      }),
    [],
  );
  const onClose = () => {
    answer.current?.(dialog.current!.returnValue && field.current!.value);
    field.current!.value = '';
  };
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="ask-title">
      <form method="dialog">
        <h2 id="ask-title">Is it you?</h2>
        <p role="alert" id="ask-problem">
          {problem}
        </p>
        <label>
          Password <input ref={field} type="password" autoComplete="current-password" aria-describedby="ask-problem" required />
        </label>
        <button value="given">Go on</button>
        <button type="button" onClick={() => dialog.current!.close()}>
          Cancel
        </button>
      </form>
    </dialog>
  );
}
