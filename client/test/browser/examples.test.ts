/** The examples of `examples/`, on an origin of their own, from sign-up to log-out. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { Chromium, PASSWORD, Stack, listen } from './harness.js';

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

async function walk(path: string, username: string) {
  const context = await chromium.browser.newContext({ locale: 'en' });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  const field = (label: string) => page.getByLabel(label).and(page.locator('input:visible'));
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const heading = (name: string) => page.getByRole('heading', { name }).waitFor();
  await page.goto(origin + path);
  await heading('Sign up');
  await field('User name').fill(username);
  await field('Email').fill(`${username}@example.com`);
  await field('Password').fill('short');
  await press('Sign up');
  await page.getByRole('alert').filter({ hasText: 'weak_password' }).waitFor();
  await field('Password').fill(PASSWORD);
  await press('Sign up');
  await heading('Look in your inbox');
  await field('Code from the mail').fill(await stack.code(`${username}@example.com`));
  await press('Confirm');
  await heading(`Hello, ${username}`);
  await page.reload();
  await heading(`Hello, ${username}`);
  await press('Log out');
  await heading('Log in');
  await page.getByText('Signed out: logged_out').waitFor();
  await field('User name').fill(username);
  await field('Password').fill(PASSWORD);
  await press('Log in');
  await heading(`Hello, ${username}`);
  assert.deepEqual(faults, []);
  await context.close();
}

test('the plain example: sign up, reload, log out, log in', () => walk('/examples/web-plain/index.html', 'pia'));

test('the React example, built: sign up, reload, log out, log in', async () => {
  const folder = join(ROOT, 'examples/web-react');
  for (const command of [['ci', '--silent', '--no-audit', '--no-fund'], ['run', '--silent', 'build']]) {
    const { status, stderr } = spawnSync('npm', command, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
  await walk('/examples/web-react/dist/index.html', 'rea');
});
