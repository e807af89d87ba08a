/**
 * The local stack's own pages, as a person meets them: `/`, the mailbox, and the mailed link's page.
 *
 * `LATCHKEY_SCREENSHOTS`: a folder, into which each page goes as it looks.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { BrowserContextOptions, Download, Page } from 'playwright-core';
import { Chromium, PASSWORD, Stack, cookies, listen } from './harness.js';

const FOLDER = process.env.LATCHKEY_SCREENSHOTS;
const AXE = readFileSync(createRequire(resolve('package.json')).resolve('axe-core/axe.min.js'), 'utf8');
const DESKTOP = { viewport: { width: 960, height: 760 }, locale: 'en-GB' };
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true };

let stack: Stack;
let chromium: Chromium;
before(async () => {
  stack = await Stack.start({ AppUrl: undefined });
  chromium = await Chromium.start();
});
after(async () => {
  await chromium?.stop();
  await stack?.stop();
});

async function visitor(options: BrowserContextOptions = {}, at = stack) {
  const context = await chromium.browser.newContext({ ...DESKTOP, ...options });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  await page.goto(at.direct);
  return { context, page, faults };
}

/** Looks at what is shown: no fault that axe knows of, nothing wider than the screen; and keeps a picture. */
async function look(page: Page, name: string) {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => (await (window as any).axe.run()).violations);
  assert.deepEqual(
    violations.map(({ id, nodes }: any) => `${id}: ${nodes.map(({ html }: any) => html).join(' ')}`),
    [],
    name,
  );
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, name);
  if (!FOLDER) return;
  mkdirSync(FOLDER, { recursive: true });
  await page.screenshot({ path: `${FOLDER}/${name}.png`, fullPage: name.startsWith('settings-') });
}

async function logIn(page: Page, name: string, password = PASSWORD) {
  await page.getByRole('link', { name: 'Log in' }).click();
  await heading(page, 'Log in');
  await field(page, 'User name or email address').fill(name);
  await field(page, 'Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await heading(page, `Hello, ${name}`);
}

/** The next such request is answered as if the password had been given long ago. */
async function makeStale(page: Page, path: string) {
  const body = JSON.stringify({ code: 'reauthentication_required', status: 403 });
  const answer = { status: 403, contentType: 'application/problem+json', body };
  await page.route('**' + path, (route) => route.fulfill(answer), { times: 1 });
}

/** What was downloaded. */
async function contents(download: Download): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-download-'));
  await download.saveAs(join(folder, 'file'));
  const text = readFileSync(join(folder, 'file'), 'utf8');
  rmSync(folder, { recursive: true });
  return text;
}

const activeId = (page: Page) => page.evaluate(() => document.activeElement?.id);

/** The field of that label which is shown; a password is no textbox to assistive technology. */
const field = (page: Page, label: string) => page.getByLabel(label).and(page.locator('input:visible'));
const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name }).waitFor();
/** Chromium says so on the console whenever an answer is not a 2xx. */
const unexpected = (faults: string[]) => faults.filter((fault) => !fault.includes('the server responded with a status'));

test('demo: signing up with the code, by keyboard alone', async () => {
  const { context, page, faults } = await visitor();
  await heading(page, 'Create an account');
  await look(page, 'signup');
  await field(page, 'User name').focus();
  for (const text of ['ann', 'ann@example.com', PASSWORD]) {
    await page.keyboard.type(text);
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await heading(page, 'Look in your inbox');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'inbox-title', 'a screen reader reads on here');
  await look(page, 'inbox');
  await field(page, 'Code of 8 digits').fill('00000000');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'This code is wrong' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'code');
  const code = await stack.code('ann@example.com');
  await field(page, 'Code of 8 digits').fill(`${code.slice(0, 4)} ${code.slice(4)}`);
  await page.keyboard.press('Enter');
  await heading(page, 'Hello, ann');
  await page.getByText(/^2[0-9]:[0-5][0-9]$/).waitFor();
  const before = await page.locator('#countdown').textContent();
  await page.waitForFunction((text) => document.querySelector('#countdown')?.textContent !== text, before);
  await page.reload();
  await heading(page, 'Hello, ann');
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await page.getByRole('status').filter({ hasText: 'new token' }).waitFor();
  await page.getByRole('button', { name: 'Log out', exact: true }).click();
  await heading(page, 'Log in');
  await page.getByText('You are logged out.').waitFor();
  await page.reload();
  await page.locator('#signup:not([hidden]), #login:not([hidden])').waitFor();
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});

test('demo: the mailed link, opened from the mailbox, signs both tabs in', async () => {
  const { context, page, faults } = await visitor();
  await field(page, 'User name').fill('ben');
  await field(page, 'Email address').fill('ben@example.com');
  await field(page, 'Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign up' }).click();
  await heading(page, 'Look in your inbox');
  await page.getByRole('button', { name: 'Send the mail again' }).click();
  await page.getByRole('alert').filter({ hasText: /Please wait [0-9]+ seconds/ }).waitFor();
  const [mailbox] = await Promise.all([context.waitForEvent('page'), page.getByRole('link', { name: 'Open the mailbox' }).click()]);
  await heading(mailbox, 'Mailbox');
  await mailbox.getByText('ben@example.com').first().waitFor();
  await look(mailbox, 'mailbox');
  const mail = mailbox.frameLocator('iframe').first();
  const [verify] = await Promise.all([
    context.waitForEvent('page'),
    mail.getByRole('link', { name: 'Confirm your address' }).click(),
  ]);
  await heading(verify, 'Confirm your address');
  await look(verify, 'verify');
  await verify.getByRole('button', { name: 'Confirm and sign in' }).click();
  await heading(verify, 'Hello, ben');
  // The first tab has not been touched, nor seen again.
  await heading(page, 'Hello, ben');
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});

test('demo: the code of a sign-up that the link has confirmed meanwhile leads into the account, too', async () => {
  const { context, page } = await visitor();
  await field(page, 'User name').fill('bea');
  await field(page, 'Email address').fill('bea@example.com');
  await field(page, 'Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign up' }).click();
  await heading(page, 'Look in your inbox');
  await field(page, 'Code of 8 digits').fill(await stack.code('bea@example.com'));
  // Something on another page of the API's, without this client: nobody tells the first tab.
  const link = new URL(await stack.link('bea@example.com'));
  const confirmed = await context.request.post(stack.direct + '/verify', {
    headers: { origin: stack.direct },
    data: { token: link.searchParams.get('token') },
  });
  assert.equal(confirmed.status(), 201);
  await page.getByRole('button', { name: 'Confirm and sign in' }).click();
  await heading(page, 'Hello, bea');
  await context.close();
});

test('demo: without an answer it does not say that nobody is signed in', async () => {
  const { context, page } = await visitor();
  await context.route('**/me', (route) => route.abort());
  await page.reload();
  await heading(page, 'No answer');
  await page.getByRole('alert').filter({ hasText: 'Is the network there' }).waitFor();
  await look(page, 'unreachable');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('alert').filter({ hasText: 'Is the network there' }).waitFor();
  await context.unroute('**/me');
  await page.getByRole('button', { name: 'Try again' }).click();
  await heading(page, 'Create an account');
  await context.close();
});

test('demo: devices, and what ends them', async () => {
  await stack.account('carl');
  const { context, page } = await visitor();
  await page.getByRole('link', { name: 'Log in' }).click();
  await field(page, 'User name or email address').fill('carl@example.com');
  await field(page, 'Password').fill('wrong password');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').filter({ hasText: 'do not fit together' }).waitFor();
  await look(page, 'login');
  await field(page, 'Password').fill(PASSWORD);
  await page.getByRole('checkbox', { name: 'Keep me signed in' }).check();
  await page.getByRole('button', { name: 'Log in' }).click();
  await heading(page, 'Hello, carl');
  await page.getByText('Remembered browser').waitFor();
  const devices = page.locator('#devices li');
  await devices.nth(1).waitFor();
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await page.getByText(/^1[0-9]:[0-5][0-9]$/).waitFor();
  await look(page, 'account');
  await devices.getByRole('button').click();
  await page.getByText('That device is signed out.').waitFor();
  assert.equal(await devices.count(), 1);
  const elsewhere = await visitor();
  await elsewhere.page.getByRole('link', { name: 'Log in' }).click();
  await field(elsewhere.page, 'User name or email address').fill('carl');
  await field(elsewhere.page, 'Password').fill(PASSWORD);
  await elsewhere.page.getByRole('button', { name: 'Log in' }).click();
  await heading(elsewhere.page, 'Hello, carl');
  await elsewhere.page.getByRole('button', { name: 'Log out everywhere' }).click();
  await heading(elsewhere.page, 'Log in');
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await page.getByText('Your session was ended elsewhere').waitFor();
  await context.close();
  await elsewhere.context.close();
});

test('demo: in Korean, in the dark, on a phone', async () => {
  const { context, page } = await visitor({ ...PHONE, locale: 'ko-KR', colorScheme: 'dark' });
  await heading(page, '계정 만들기');
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'ko');
  await field(page, '사용자 이름').fill('dana');
  await field(page, '이메일 주소').fill('dana@example.com');
  await field(page, '비밀번호').fill('password');
  await page.getByRole('button', { name: '가입하기' }).click();
  await page.getByRole('alert').filter({ hasText: '추측하기 쉽거나' }).waitFor();
  await look(page, 'signup-phone-ko');
  await field(page, '비밀번호').fill(PASSWORD);
  await page.getByRole('button', { name: '가입하기' }).click();
  await heading(page, '받은편지함을 확인하세요');
  const link = await stack.link('dana@example.com');
  const verify = await context.newPage();
  await verify.goto(link);
  await heading(verify, '이메일 주소 확인');
  await look(verify, 'verify-phone-ko');
  await field(page, '8자리 코드').fill(await stack.code('dana@example.com'));
  await page.getByRole('button', { name: '확인하고 로그인' }).click();
  await heading(page, 'dana 님, 안녕하세요');
  await look(page, 'account-phone-ko');
  await page.goto(stack.direct + '/_local/mail');
  await heading(page, '메일함');
  await look(page, 'mailbox-phone-ko');
  await context.close();
});

test('demo: a password that has leaked somewhere', async () => {
  const hash = createHash('sha1').update(PASSWORD).digest('hex').toUpperCase();
  const ranges = createServer((request, response) => {
    response.end(request.url === `/range/${hash.slice(0, 5)}` ? `${hash.slice(5)}:17` : `${'0'.repeat(35)}:0`);
  });
  const asking = await Stack.start({ AppUrl: undefined, BreachCheck: 'refuse', BreachCheckUrl: await listen(ranges) });
  for (const [locale, words] of [
    ['en', 'has leaked somewhere'],
    ['ko', '어딘가에서 유출된'],
  ] as const) {
    const { context, page, faults } = await visitor({ locale }, asking);
    await page.locator('#signup-username').fill(`fay-${locale}`);
    await page.locator('#signup-email').fill(`fay-${locale}@example.com`);
    await page.locator('#signup-password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: words }).waitFor();
    assert.equal(await activeId(page), 'signup-password');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('seven quiet llamas');
    await page.keyboard.press('Enter');
    await page.locator('#inbox-title').waitFor();
    assert.deepEqual(unexpected(faults), []);
    await context.close();
  }
  await asking.stop();
  ranges.closeAllConnections();
  ranges.close();
});

test('demo: a forgotten password, with the code', async () => {
  await stack.account('eve');
  const { context, page, faults } = await visitor();
  await page.getByRole('link', { name: 'Log in' }).click();
  await page.getByRole('link', { name: 'Forgot your password?' }).click();
  await heading(page, 'Forgot your password?');
  await look(page, 'forgot');
  await field(page, 'User name or email address').fill('eve');
  await page.getByRole('button', { name: 'Send the mail' }).click();
  await heading(page, 'Choose a new password');
  await look(page, 'reset');
  // The device that asked is known by its cookie, also when the page is loaded again.
  await page.reload();
  await heading(page, 'Choose a new password');
  const code = await stack.code('eve@example.com');
  await field(page, 'Code of 8 digits').fill(`${code.slice(0, 4)} ${code.slice(4)}`);
  await field(page, 'New password').fill('password1');
  await page.getByRole('button', { name: 'Set the password' }).click();
  await page.getByRole('alert').filter({ hasText: 'too easy to guess' }).waitFor();
  assert.equal(await activeId(page), 'reset-password');
  await field(page, 'New password').fill('seven quiet llamas');
  await page.getByRole('button', { name: 'Set the password' }).click();
  await heading(page, 'Log in');
  await page.getByRole('status').filter({ hasText: 'The password is set' }).waitFor();
  await field(page, 'User name or email address').fill('eve');
  await field(page, 'Password').fill('seven quiet llamas');
  await page.getByRole('button', { name: 'Log in' }).click();
  await heading(page, 'Hello, eve');
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});

test('demo: a forgotten password, by the mailed link, ends the session elsewhere', async () => {
  await stack.account('fay');
  const here = await visitor();
  await logIn(here.page, 'fay');
  const { context, page } = await visitor();
  await page.goto(stack.direct + '#forgot');
  await page.reload();
  await field(page, 'User name or email address').fill('fay@example.com');
  await page.getByRole('button', { name: 'Send the mail' }).click();
  await heading(page, 'Choose a new password');
  const link = await stack.link('fay@example.com', '/password/reset');
  await page.goto(link);
  await look(page, 'reset-page');
  await page.locator('input[type=password]').fill('seven quiet llamas');
  await page.locator('form button').click();
  await heading(page, 'Create an account');
  await logIn(page, 'fay', 'seven quiet llamas');
  await here.page.getByRole('button', { name: 'Refresh now' }).click();
  await here.page.getByText('Your session was ended elsewhere').waitFor();
  await context.close();
  await here.context.close();
});

test('demo: settings: another name and language, another password, a file', async () => {
  await stack.account('gil');
  const { context, page, faults } = await visitor();
  await logIn(page, 'gil');
  await page.getByRole('link', { name: 'Account settings' }).click();
  await heading(page, 'Account settings');
  assert.equal(await activeId(page), 'settings-title');
  await look(page, 'settings');
  await field(page, 'User name').first().fill('gilbert');
  await page.getByLabel('Language of mails').selectOption('ko');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('status').filter({ hasText: 'Saved.' }).waitFor();
  await page.reload();
  await heading(page, 'Account settings');
  assert.equal(await field(page, 'User name').first().inputValue(), 'gilbert');
  assert.equal(await page.getByLabel('Language of mails').inputValue(), 'ko');

  const elsewhere = await visitor();
  await logIn(elsewhere.page, 'gilbert');
  await field(page, 'Present password').fill('not this one');
  await field(page, 'New password').fill('seven quiet llamas');
  await page.getByRole('button', { name: 'Change the password' }).click();
  await page.getByRole('alert').filter({ hasText: 'This is not your password' }).waitFor();
  assert.equal(await activeId(page), 'present-password');
  await look(page, 'settings-wrong-password');
  await field(page, 'Present password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Change the password' }).click();
  await page.getByRole('status').filter({ hasText: 'The password is changed' }).waitFor();
  assert.equal(await field(page, 'Present password').inputValue(), '');
  await elsewhere.page.getByRole('button', { name: 'Refresh now' }).click();
  await elsewhere.page.getByText('Your session was ended elsewhere').waitFor();
  await elsewhere.context.close();

  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download' }).click(),
  ]);
  assert.equal(download.suggestedFilename(), 'latchkey-gilbert.json');
  const file = await contents(download);
  assert.match(file, /gilbert/);
  assert.doesNotMatch(file, /argon2/);
  await page.getByRole('link', { name: 'Back to the account' }).click();
  await heading(page, 'Hello, gilbert');
  await page.goBack();
  await heading(page, 'Account settings');
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});

test('demo: settings: another address', async () => {
  await stack.account('hal');
  const { context, page } = await visitor();
  await logIn(page, 'hal');
  await page.getByRole('link', { name: 'Account settings' }).click();
  await field(page, 'New email address').fill('hal.new@example.com');
  await page.getByRole('button', { name: 'Send the mail' }).click();
  await page.waitForFunction(() => document.activeElement?.id === 'address-code');
  await look(page, 'settings-address');
  await field(page, 'Code of 8 digits').fill(await stack.code('hal.new@example.com'));
  await page.getByRole('button', { name: 'Confirm the address' }).click();
  await page.getByRole('status').filter({ hasText: 'hal.new@example.com' }).waitFor();
  await page.getByRole('link', { name: 'Back to the account' }).click();
  await page.locator('#account-email').filter({ hasText: 'hal.new@example.com' }).waitFor();
  await context.close();
});

test('demo: the password again, in a dialog, by keyboard; cancelled, wrong, right', async () => {
  await stack.account('ida');
  const { context, page, faults } = await visitor();
  await logIn(page, 'ida');
  await page.getByRole('link', { name: 'Account settings' }).click();
  const dialog = page.getByRole('dialog', { name: 'Your password, please' });
  const button = page.getByRole('button', { name: 'Download' });
  for (const cancel of ['Escape', 'Cancel']) {
    await makeStale(page, '/me/export');
    await button.focus();
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    assert.equal(await activeId(page), 'reauthenticate-password');
    if (cancel === 'Cancel') await look(page, 'reauthenticate');
    if (cancel === 'Escape') await page.keyboard.press('Escape');
    else await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.getByRole('alert').filter({ hasText: 'Nothing was done' }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Download', 'the focus is back');
  }
  await makeStale(page, '/me/export');
  await button.click();
  await dialog.waitFor();
  await page.keyboard.type('not this one');
  await page.keyboard.press('Enter');
  await dialog.getByRole('alert').filter({ hasText: 'This is not your password' }).waitFor();
  assert.equal(await activeId(page), 'reauthenticate-password');
  await look(page, 'reauthenticate-wrong');
  // Tab stays within the dialog.
  for (let press = 0; press < 6; press++) {
    await page.keyboard.press('Tab');
    const isOutside = await page.evaluate(() => !!document.activeElement?.closest('main'));
    assert.equal(isOutside, false);
  }
  const before = (await context.cookies()).find(({ name }) => name === 'access')!.value;
  await field(page, 'Password').and(dialog.locator('input')).fill(PASSWORD);
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
  assert.match(await contents(download), /ida@example.com/);
  assert.notEqual((await context.cookies()).find(({ name }) => name === 'access')!.value, before, 'a new session');
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});

test('demo: deletion, with the name typed and the password again', async () => {
  const strict = await Stack.start({ AppUrl: undefined, FreshAuthentication: 3 });
  try {
    await strict.account('joy');
    const { context, page, faults } = await visitor({}, strict);
    await logIn(page, 'joy');
    await page.getByRole('link', { name: 'Account settings' }).click();
    await page.getByLabel('Type your user name, joy').fill('jay');
    await page.getByRole('button', { name: 'Delete the account' }).click();
    await page.getByRole('alert').filter({ hasText: 'This is not your user name' }).waitFor();
    assert.equal(await activeId(page), 'delete-username');
    await page.getByLabel('Type your user name, joy').fill('joy');
    // The server's clock is the machine's.
    await page.waitForTimeout(4500);
    await page.getByRole('button', { name: 'Delete the account' }).click();
    const dialog = page.getByRole('dialog', { name: 'Your password, please' });
    await dialog.waitFor();
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press('Enter');
    await heading(page, 'Log in');
    await page.getByRole('status').filter({ hasText: 'Your account is deleted' }).waitFor();
    await look(page, 'deleted');
    assert.deepEqual(await cookies(context), []);
    await field(page, 'User name or email address').fill('joy');
    await field(page, 'Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').filter({ hasText: 'do not fit together' }).waitFor();
    assert.deepEqual(unexpected(faults), []);
    await context.close();
  } finally {
    await strict.stop();
  }
});

test("demo: an account's life in Korean, in the dark, on a phone", async () => {
  await stack.account('kim');
  const { context, page } = await visitor({ ...PHONE, locale: 'ko-KR', colorScheme: 'dark' });
  await page.goto(stack.direct + '#forgot');
  await page.reload();
  await heading(page, '비밀번호를 잊으셨나요?');
  await look(page, 'forgot-phone-ko');
  await field(page, '사용자 이름 또는 이메일 주소').fill('kim@example.com');
  await page.getByRole('button', { name: '메일 보내기' }).click();
  await heading(page, '새 비밀번호 정하기');
  await look(page, 'reset-phone-ko');
  const mailed = await context.newPage();
  await mailed.goto(await stack.link('kim@example.com', '/password/reset'));
  await look(mailed, 'reset-page-phone-ko');
  await field(page, '8자리 코드').fill(await stack.code('kim@example.com'));
  await field(page, '새 비밀번호').fill('seven quiet llamas');
  await page.getByRole('button', { name: '비밀번호 설정' }).click();
  await heading(page, '로그인');
  await page.getByRole('status').filter({ hasText: '비밀번호를 설정했고' }).waitFor();
  await field(page, '사용자 이름 또는 이메일 주소').fill('kim');
  await field(page, '비밀번호').fill('seven quiet llamas');
  await page.getByRole('button', { name: '로그인' }).click();
  await page.getByRole('link', { name: '계정 설정' }).click();
  await heading(page, '계정 설정');
  await look(page, 'settings-phone-ko');
  await page.getByLabel('계정을 삭제하려면 사용자 이름 kim 입력').fill('kim');
  await look(page, 'settings-end-phone-ko');
  await makeStale(page, '/me');
  await page.getByRole('button', { name: '계정 삭제' }).click();
  const dialog = page.getByRole('dialog', { name: '비밀번호 확인' });
  await dialog.waitFor();
  await look(page, 'reauthenticate-phone-ko');
  await page.keyboard.type('seven quiet llamas');
  await page.keyboard.press('Enter');
  await heading(page, '로그인');
  await page.getByText('계정을 삭제했습니다').waitFor();
  await context.close();
});

test("demo: the API's description, rendered", async () => {
  const { context, page, faults } = await visitor();
  await page.getByRole('link', { name: 'API' }).click();
  await page.getByText('Sign in with a password').click();
  await page.getByText('invalid_credentials').first().waitFor();
  if (FOLDER) await page.screenshot({ path: `${FOLDER}/api.png` });
  assert.deepEqual(unexpected(faults), []);
  await context.close();
});
