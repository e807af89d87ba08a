/** The demonstration at `/`: Latchkey's client, used as any page would. */

import { createClient } from '/_local/latchkey.js';
import { locale, time, translate, words } from '/_local/words.js';

const latchkey = createClient({
  api: location.origin,
  onSignedOut: signedOut,
  // The mailed link's page has signed somebody in, say, while this tab asks for the code.
  onSignedIn: () => void look().catch(() => {}),
});
const $ = (id) => document.getElementById(id);

// ---------------------------------------------------------------------------------------------- What is shown

function show(view) {
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== view;
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

/** A fault in plain words, beside the field that it is about. */
function complain(error, form) {
  const { code, retryAfter } = error;
  const known = words.problems[code];
  const text = code === 'rate_limited' && retryAfter ? words.wait(retryAfter) : known;
  say('alert', text ?? `${words.problems.other} (${code ?? error.message}).`);
  const name = { invalid_email: 'email', weak_password: 'password', invalid_verification: 'code' }[code];
  const field = form?.elements[name ?? (code?.endsWith('username') || code === 'username_taken' ? 'username' : '')];
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

async function showAccount({ user, session }) {
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
      await showAccount(await latchkey.verify({ code: code.replaceAll(/\s/g, ''), remember: remember === 'on' }));
    } catch (error) {
      // The link may have been used meanwhile, and the code is void then.
      if (!(await look().catch(() => null))) throw error;
    }
  },
  async logIn({ name, password, remember }) {
    const who = name.includes('@') ? { email: name } : { username: name };
    await showAccount(await latchkey.login({ ...who, password, remember: remember === 'on' }));
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
  ask,
  logOut: () => latchkey.logout(),
  logOutEverywhere: () => latchkey.logout({ everywhere: true }),
};

function signedOut(reason) {
  show('login');
  say('note', words.signedOut[reason]);
}

for (const form of document.forms) {
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
for (const button of document.querySelectorAll('[data-do]')) {
  button.addEventListener('click', () => run(button, buttons[button.dataset.do]));
}

/** Who is signed in, perhaps in another tab. */
async function look() {
  const signedIn = await latchkey.me();
  if (signedIn) await showAccount(signedIn);
  return signedIn;
}

/** Who is signed in? No answer does not mean nobody. */
async function ask() {
  try {
    if (!(await look())) show(location.hash === '#login' ? 'login' : 'signup');
  } catch (error) {
    show('unreachable');
    throw error;
  }
}

addEventListener('hashchange', () => {
  if (!['#signup', '#login'].includes(location.hash)) return;
  quiet();
  show(location.hash.slice(1));
});

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && !$('inbox').hidden) look().catch(() => {});
});

translate();
ask().catch((error) => complain(error));
