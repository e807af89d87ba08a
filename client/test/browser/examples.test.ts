/**
 * The examples of `examples/`, on an origin of their own, from sign-up to log-out, and to the deletion of an account.
 *
 * `LATCHKEY_SCREENSHOTS`: a folder, into which each view goes as it looks.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { Chromium, PASSWORD, Stack, cookies, listen } from './harness.js';

const FOLDER = process.env.LATCHKEY_SCREENSHOTS;
const AXE = readFileSync(createRequire(resolve('package.json')).resolve('axe-core/axe.min.js'), 'utf8');
const ROOT = resolve('..');
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' };
/** What the examples call the API, and how they are served here. */
const API = 'http://localhost:3000';

let stack: Stack;
let chromium: Chromium;
let server: Server;
let origin: string;

before(async () => {
  server = createServer((request, response) => {
    const path = join(ROOT, decodeURIComponent(new URL(request.url!, origin).pathname));
    const type = TYPES[extname(path)];
    if (!path.startsWith(ROOT) || !type || !existsSync(path)) return void response.writeHead(404).end();
    response.setHeader('content-type', type);
    response.end(readFileSync(path, 'utf8').replaceAll(API, stack.direct));
  });
  origin = await listen(server);
  stack = await Stack.start({ AllowedOrigins: origin, AppUrl: origin + '/' });
  chromium = await Chromium.start();
});
after(async () => {
  await chromium?.stop();
  await stack?.stop();
  server?.closeAllConnections();
  server?.close();
});

/** Looks at a view, light and dark, on a phone: no fault that axe knows of, nothing wider than the screen. */
async function look(page: Page, name: string) {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(AXE);
    const violations = await page.evaluate(async () => (await (window as any).axe.run()).violations);
    assert.deepEqual(
      violations.map(({ id, nodes }: any) => `${id}: ${nodes.map(({ html, any }: any) => html + ' ' + any[0]?.message).join(' ')}`),
      [],
      `${name}, ${colorScheme}`,
    );
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, name);
    if (!FOLDER) continue;
    mkdirSync(FOLDER, { recursive: true });
    await page.screenshot({ path: `${FOLDER}/${name}-${colorScheme}.png` });
  }
}

/** From sign-up to log-out, as a person would, on a phone's width. */
async function walk(path: string, name: string, username: string) {
  const context = await chromium.browser.newContext({ locale: 'en', viewport: { width: 360, height: 640 } });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  const field = (label: string) => page.getByLabel(label).and(page.locator('input:visible'));
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const heading = (name: string) => page.getByRole('heading', { name, exact: true }).waitFor();
  const alert = (text: string) => page.getByRole('alert').filter({ hasText: text }).waitFor();
  const isFocused = (label: string) => field(label).evaluate((element) => element === document.activeElement);
  const isHeadingFocused = () => page.evaluate(() => document.activeElement?.tagName === 'H1');

  // No answer is not «nobody».
  await context.route(stack.direct + '/me', (route) => route.abort());
  await page.goto(origin + path);
  await heading('No answer');
  await look(page, `${name}-unreachable`);
  await context.unroute(stack.direct + '/me');
  await press('Try again');

  await heading('Sign up');
  await look(page, `${name}-signup`);
  await field('User name').fill(username);
  await field('Email').fill(`${username}@example.com`);
  await field('Password').fill('short');
  await press('Sign up');
  await alert('This password is too short');
  assert.ok(await isFocused('Password'));
  assert.equal(await field('Password').getAttribute('aria-invalid'), 'true');
  await look(page, `${name}-problem`);
  await field('Password').fill(PASSWORD);
  await press('Sign up');

  await heading('Look in your inbox');
  assert.ok(await isHeadingFocused());
  await press('Send again');
  await alert('Too many tries');
  await field('Code from the mail').fill('00000000');
  await press('Confirm');
  await alert('This code is wrong');
  await look(page, `${name}-verify`);
  await field('Code from the mail').fill(await stack.code(`${username}@example.com`));
  await press('Confirm');

  await heading(`Hello, ${username}`);
  assert.ok(await isHeadingFocused());
  await look(page, `${name}-home`);
  await page.reload();
  await heading(`Hello, ${username}`);

  // A log-out that the server did not hear of signs nobody out.
  await context.route(stack.direct + '/logout', (route) => route.abort());
  await press('Log out');
  await alert('The server does not answer');
  await heading(`Hello, ${username}`);
  await context.unroute(stack.direct + '/logout');
  await press('Log out');
  await heading('Log in');
  assert.ok(await isHeadingFocused());
  await page.getByText('You are signed out.').waitFor();
  assert.deepEqual(await cookies(context), []);

  await field('User name').fill(username);
  await field('Password').fill('not the password');
  await press('Log in');
  await alert('User name or password is wrong');
  await look(page, `${name}-login`);
  await field('Password').fill(PASSWORD);
  await field('Keep me signed in').check();
  await press('Log in');
  await heading(`Hello, ${username}`);
  assert.deepEqual(await cookies(context), ['access', 'refresh', 'username']);

  // Another tab is told of the log-out.
  const other = await context.newPage();
  await other.goto(origin + path);
  await other.getByRole('heading', { name: `Hello, ${username}` }).waitFor();
  await press('Log out');
  await other.getByRole('heading', { name: 'Log in' }).waitFor();

  // And of the next log-in, without a touch.
  await field('User name').fill(username);
  await field('Password').fill(PASSWORD);
  await press('Log in');
  await other.getByRole('heading', { name: `Hello, ${username}` }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
}

/** Another name, address and password, the password forgotten, and the account deleted. */
async function live(path: string, name: string, username: string) {
  await stack.account(username);
  const context = await chromium.browser.newContext({ locale: 'en', viewport: { width: 360, height: 640 } });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  const field = (label: string) => page.getByLabel(label).and(page.locator('input:visible'));
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const heading = (name: string) => page.getByRole('heading', { name, exact: true }).waitFor();
  const alert = (text: string) => page.getByRole('alert').filter({ hasText: text }).waitFor();
  const status = (text: string) => page.getByRole('status').filter({ hasText: text }).waitFor();
  const isFocused = (label: string) => field(label).evaluate((element) => element === document.activeElement);
  const dialog = page.getByRole('dialog', { name: 'Is it you?' });
  /** The next request to `/me` is answered as if the password had been given long ago. */
  const makeStale = () =>
    page.route(
      stack.direct + '/me',
      (route) =>
        route.fulfill({
          status: 403,
          contentType: 'application/problem+json',
          headers: { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true' },
          body: JSON.stringify({ code: 'reauthentication_required', status: 403 }),
        }),
      { times: 1 },
    );
  const give = async (password: string) => {
    await dialog.getByLabel('Password').fill(password);
    await dialog.getByRole('button', { name: 'Go on' }).click();
  };
  const logIn = async (username: string, password: string) => {
    await heading('Log in');
    await field('User name').fill(username);
    await field('Password').fill(password);
    await press('Log in');
    await heading(`Hello, ${username}`);
    await press('Account settings');
    await heading('Account settings');
  };

  await page.goto(origin + path);
  await heading('Sign up');
  await press('I have an account');
  await logIn(username, PASSWORD);
  await look(page, `${name}-settings`);

  const other = `${username}-too`;
  await field('User name').fill(other);
  await makeStale();
  await press('Change the name');
  await dialog.waitFor();
  await look(page, `${name}-ask`);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await alert('Nothing was changed');
  await makeStale();
  await press('Change the name');
  await give('not the password');
  await dialog.getByRole('alert').filter({ hasText: 'This is not your password' }).waitFor();
  await give(PASSWORD);
  await status('Your name is changed');
  assert.equal(await field('User name').inputValue(), other);

  const email = `${username}@new.example`;
  await field('New email').fill(email);
  await press('Change the email');
  await status('A code is on its way');
  await field('Code from the mail').fill(await stack.code(email));
  await press('Confirm');
  await status(`Your address is ${email}.`);

  await field('Present password').fill(PASSWORD);
  await field('New password').fill('short');
  await press('Change the password');
  await alert('This password is too short');
  assert.ok(await isFocused('New password'));
  assert.equal(await field('Present password').getAttribute('aria-invalid'), null);
  await field('New password').fill('seven quiet llamas');
  await press('Change the password');
  await status('Your password is changed');
  await look(page, `${name}-changed`);
  await press('Back');
  await heading(`Hello, ${other}`);
  await press('Log out');

  await heading('Log in');
  await press('I have forgotten my password');
  await heading('A new password');
  await look(page, `${name}-forgot`);
  await field('User name or email').fill(email);
  await press('Send a mail');
  await heading('Look in your inbox');
  await look(page, `${name}-reset`);
  await field('Code from the mail').fill('00000000');
  await field('New password').fill('nine loud otters');
  await press('Set the password');
  await alert('This code is wrong');
  await field('Code from the mail').fill(await stack.code(email));
  await press('Set the password');
  await heading('Log in');
  await status('Your password is set');

  await logIn(other, 'nine loud otters');
  await field(`Type ${other} to delete the account`).fill(username);
  await press('Delete the account');
  await alert('This is not your user name');
  await field(`Type ${other} to delete the account`).fill(other);
  await makeStale();
  await press('Delete the account');
  await dialog.waitFor();
  await give('nine loud otters');
  await heading('Log in');
  await status('Your account is deleted');
  assert.deepEqual(await cookies(context), []);
  assert.deepEqual(faults, []);
  await context.close();
}

test('the plain example', () => walk('/examples/web-plain/index.html', 'plain', 'pia'));

test('the life of an account in the plain example', () => live('/examples/web-plain/index.html', 'plain', 'pam'));

test('the React example, built', async () => {
  const folder = join(ROOT, 'examples/web-react');
  for (const command of [['ci', '--silent', '--no-audit', '--no-fund'], ['run', '--silent', 'build']]) {
    const { status, stderr } = spawnSync('npm', command, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
  await walk('/examples/web-react/dist/index.html', 'react', 'rea');
  await live('/examples/web-react/dist/index.html', 'react', 'ros');
});
