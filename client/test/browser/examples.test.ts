/**
 * The examples of `examples/`, on an origin of their own, from sign-up to log-out.
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

test('the plain example', () => walk('/examples/web-plain/index.html', 'plain', 'pia'));

test('the React example, built', async () => {
  const folder = join(ROOT, 'examples/web-react');
  for (const command of [['ci', '--silent', '--no-audit', '--no-fund'], ['run', '--silent', 'build']]) {
    const { status, stderr } = spawnSync('npm', command, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
  await walk('/examples/web-react/dist/index.html', 'react', 'rea');
});
