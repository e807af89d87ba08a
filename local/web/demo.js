/** The demonstration at `/`: Latchkey's client, used as any page would. */

import { createClient } from '/_local/latchkey.js';
import { locale, time, translate, words } from '/_local/words.js';

const latchkey = createClient({
  api: location.origin,
  onSignedOut: signedOut,
  onReauthenticate: askPassword,
  // The mailed link's page has signed somebody in, say, while this tab asks for the code.
  onSignedIn: () => void look().catch(() => {}),
});
const $ = (id) => document.getElementById(id);
const formOf = (name) => document.querySelector(`[data-form=${name}]`);
/** Who is signed in, as far as this page knows. */
let user;
/** A change of address that waits for its code. */
let changeId;

// ---------------------------------------------------------------------------------------------- What is shown

function show(view) {
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== view;
  // What was asked for is shown once there is an answer.
  if (view !== 'unreachable') history.replaceState(null, '', '#' + view);
  // For screen readers: the new view begins here.
  $(view + '-title').focus({ preventScroll: true });
  scrollTo(0, 0);
}

function say(id, text) {
  for (const one of ['alert', 'note']) {
    $(one).hidden = one !== id;
    $(one).textContent = one === id ? text : '';
  }
}

const quiet = () => say();

/** The field that an error is about, if the form has one. */
function fieldOf(code, { username, email, password, new_password, code: verification }) {
  switch (code) {
    case 'invalid_username':
    case 'username_taken':
    case 'other_username':
      return username;
    case 'invalid_email':
    case 'email_taken':
      return email;
    case 'wrong_password':
      return password;
    case 'weak_password':
      return new_password ?? password;
    case 'invalid_verification':
      return verification;
  }
}

/** A fault in plain words, beside the field that it is about. */
function complain(error, form) {
  const { code, retryAfter } = error;
  const known = words.problems[code];
  const text = code === 'rate_limited' && retryAfter ? words.wait(retryAfter) : known;
  say('alert', text ?? `${words.problems.other} (${code ?? error.message}).`);
  const field = fieldOf(code, form?.elements ?? {});
  field?.setAttribute('aria-invalid', 'true');
  field?.setAttribute('aria-errormessage', 'alert');
  field?.focus();
}

/** Runs what a button or form does, once at a time, and shows how it went wrong. */
async function run(control, action, form) {
  if (control.getAttribute('aria-disabled') === 'true') return;
  control.setAttribute('aria-disabled', 'true');
  quiet();
  form?.querySelectorAll('[aria-invalid]').forEach((field) => {
    field.removeAttribute('aria-invalid');
    field.removeAttribute('aria-errormessage');
  });
  try {
    await action();
  } catch (error) {
    complain(error, form);
  } finally {
    control.removeAttribute('aria-disabled');
  }
}

/** The account, or its settings if they were asked for. */
async function enter(signedIn) {
  user = signedIn.user;
  if (location.hash === '#settings') showSettings();
  else await showAccount(signedIn);
}

function showSettings() {
  const { username, locale: mails } = formOf('profile').elements;
  username.value = username.defaultValue = user.username;
  for (const option of mails.options) option.selected = option.defaultSelected = option.value === user.locale;
  $('delete-label').textContent = words.deleteLabel(user.username);
  formOf('confirmEmail').hidden = !changeId;
  show('settings');
}

/** Asks for the password, in a dialog. Nothing, if that is closed without. */
function askPassword(problem) {
  const dialog = $('reauthenticate');
  const field = $('reauthenticate-password');
  const alert = $('reauthenticate-alert');
  alert.hidden = !problem;
  alert.textContent = problem ? words.problems.wrong_password : '';
  for (const [name, value] of [['aria-invalid', 'true'], ['aria-errormessage', alert.id]]) {
    if (problem) field.setAttribute(name, value);
    else field.removeAttribute(name);
  }
  return new Promise((resolve) => {
    dialog.onclose = () => {
      resolve(dialog.returnValue === 'given' ? field.value : undefined);
      field.value = '';
    };
    dialog.returnValue = '';
    dialog.showModal();
    field.focus();
  });
}

async function showAccount({ session }) {
  $('account-title').textContent = words.hello(user.username);
  $('account-email').textContent = user.email;
  $('account-kind').textContent = words.kinds[session.kind];
  $('account-end').textContent = time(session.expires_at);
  show('account');
  await showDevices();
}

async function showDevices() {
  const sessions = await latchkey.sessions();
  const items = sessions.map(({ id, device, last_used_at, current }) => {
    const item = document.createElement('li');
    const text = document.createElement('span');
    const name = document.createElement('strong');
    name.textContent = device;
    const note = document.createElement('small');
    note.textContent = (current ? words.current + ' · ' : '') + `${words.lastUsed} ${time(last_used_at)}`;
    text.append(name, note);
    item.append(text);
    if (!current) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'plain';
      button.textContent = words.revoke;
      button.setAttribute('aria-label', words.revokeDevice(device));
      button.onclick = () =>
        run(button, async () => {
          await latchkey.endSession(id);
          await showDevices();
          say('note', words.deviceEnded);
          $('account-title').focus({ preventScroll: true });
        });
      item.append(button);
    }
    return item;
  });
  $('devices').replaceChildren(...items);
}

/** The countdown to the client's own refresh. */
setInterval(() => {
  const left = latchkey.refreshIn();
  const seconds = Math.ceil((left ?? 0) / 1000);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  $('countdown').textContent = left === undefined ? words.unknownYet : clock;
}, 250);

// ---------------------------------------------------------------------------------------------- What people do

const forms = {
  async signUp({ username, email, password }) {
    await latchkey.signUp({ username, email, password, locale });
    show('inbox');
  },
  async verify({ code, remember }) {
    try {
      await enter(await latchkey.verify({ code: code.replaceAll(/\s/g, ''), remember: remember === 'on' }));
    } catch (error) {
      // The link may have been used meanwhile, and the code is void then.
      if (!(await look().catch(() => null))) throw error;
    }
  },
  async logIn({ name, password, remember }) {
    const who = name.includes('@') ? { email: name } : { username: name };
    await enter(await latchkey.login({ ...who, password, remember: remember === 'on' }));
  },
  async forgot({ name }) {
    const who = name.includes('@') ? { email: name } : { username: name };
    await latchkey.forgotPassword({ ...who, locale });
    show('reset');
  },
  async reset({ code, password }) {
    await latchkey.resetPassword({ code: code.replaceAll(/\s/g, ''), password });
    // Whoever was signed in here to that account is no longer.
    if (!(await look())) show('login');
    say('note', words.passwordSet);
  },
  async profile({ username, locale: mails }) {
    const changes = {};
    if (username !== user.username) changes.username = username;
    if (mails !== user.locale) changes.locale = mails;
    ({ user } = await latchkey.updateMe(changes));
    showSettings();
    say('note', words.saved);
  },
  async changeEmail({ email }) {
    ({ change_id: changeId } = await latchkey.changeEmail(email));
    formOf('confirmEmail').hidden = false;
    $('address-code').focus();
  },
  async confirmEmail({ code }) {
    await latchkey.confirmEmail({ change_id: changeId, code: code.replaceAll(/\s/g, '') });
    changeId = undefined;
    ({ user } = await latchkey.me());
    showSettings();
    say('note', words.emailChanged(user.email));
  },
  async changePassword({ password, new_password }) {
    await latchkey.changePassword(password, new_password);
    say('note', words.passwordChanged);
  },
  async deleteAccount({ username }) {
    if (username.trim() !== user.username) throw { code: 'other_username' };
    await latchkey.deleteAccount();
  },
};

const buttons = {
  async resend() {
    await latchkey.resend();
    say('note', words.resent);
  },
  async refresh() {
    if (await latchkey.refresh()) say('note', words.refreshed);
  },
  async exportMe() {
    const file = new Blob([JSON.stringify(await latchkey.exportMe(), null, 2)], { type: 'application/json' });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = `latchkey-${user.username}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
    say('note', words.exported);
  },
  ask,
  logOut: () => latchkey.logout(),
  logOutEverywhere: () => latchkey.logout({ everywhere: true }),
};

function signedOut(reason) {
  user = changeId = undefined;
  $('reauthenticate').close();
  show('login');
  say('note', words.signedOut[reason]);
}

for (const form of document.querySelectorAll('[data-form]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    const act = async () => {
      await forms[form.dataset.form](fields);
      form.reset();
    };
    void run(form.querySelector('button:not(.link)'), act, form);
  });
}
$('reauthenticate-cancel').addEventListener('click', () => $('reauthenticate').close());
for (const button of document.querySelectorAll('[data-do]')) {
  button.addEventListener('click', () => run(button, buttons[button.dataset.do]));
}

/** Who is signed in, perhaps in another tab. */
async function look() {
  const signedIn = await latchkey.me();
  if (signedIn) await enter(signedIn);
  return signedIn;
}

/** Who is signed in? No answer does not mean nobody. */
async function ask() {
  try {
    if (!(await look())) show(isOpen(location.hash) ? location.hash.slice(1) : 'signup');
  } catch (error) {
    show('unreachable');
    throw error;
  }
}

/** Whether that view is there for everybody. */
const isOpen = (hash) => ['#signup', '#login', '#forgot', '#reset'].includes(hash);

addEventListener('hashchange', () => {
  quiet();
  if (isOpen(location.hash)) show(location.hash.slice(1));
  else if (user && location.hash === '#settings') showSettings();
  else if (user) look().catch(complain);
});

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && !$('inbox').hidden) look().catch(() => {});
});

translate();
ask().catch((error) => complain(error));
