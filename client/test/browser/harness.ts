/**
 * A local stack, a page on another origin, a wire between them that can be cut, and Chromium.
 *
 * `LATCHKEY_LOCAL`: the local stack's binary; `CHROMIUM`: the browser's.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium, type Browser, type BrowserContext, type BrowserServer, type Page } from 'playwright-core';
import type { Client, SignedOutReason } from '../../src/latchkey.js';

declare global {
  interface Window {
    client: Client;
    reasons: SignedOutReason[];
    /** What the person types when asked for the password, one after the other. */
    typed: string[];
  }
}

const page = (api: string) => `<!doctype html><title>Latchkey</title><body>A page<script type="module">
import { createClient } from '/latchkey.js';
window.reasons = [];
window.typed = [];
window.client = createClient({
  api: '${api}',
  onSignedOut: (reason) => window.reasons.push(reason),
  onReauthenticate: () => window.typed.shift(),
});
</script>`;

/** What happens to a request on the wire. */
export interface Wire {
  /** Called before the answer is handed on. */
  onAnswer?(request: IncomingMessage, answer: IncomingMessage): Promise<'lose' | void> | 'lose' | void;
  readonly log: string[];
}

export class Stack {
  readonly wire: Wire = { log: [] };
  private constructor(
    /** The API, behind the wire. */
    readonly api: string,
    /** The API itself. */
    readonly direct: string,
    readonly page: string,
    private readonly local: ChildProcess,
    private readonly servers: Server[],
  ) {}

  /** With those parameters of the template; `undefined` leaves one at its default. */
  static async start(parameters: Record<string, string | number | undefined> = {}): Promise<Stack> {
    let stack: Stack;
    const pages = createServer((incoming, outgoing) => {
      const isModule = incoming.url === '/latchkey.js';
      outgoing.setHeader('content-type', isModule ? 'text/javascript' : 'text/html');
      outgoing.end(isModule ? readFileSync('dist/latchkey.js') : page(stack.api));
    });
    const origin = await listen(pages);
    const binary = resolve(process.env.LATCHKEY_LOCAL ?? '../target/debug/local');
    if (!existsSync(binary)) throw new Error(`no local stack at ${binary}; set LATCHKEY_LOCAL`);
    const settings = Object.entries({ AllowedOrigins: origin, AppUrl: origin + '/', ...parameters })
      .filter(([, value]) => value !== undefined)
      .flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    const local = spawn(binary, ['--memory', '--port', '0', ...settings], {
      cwd: resolve('..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const direct = await new Promise<string>((found, failed) => {
      createInterface(local.stdout!).on('line', (line) => {
        const url = /listening on (http:\/\/\S+)/.exec(line)?.[1];
        if (url) found(url);
      });
      local.once('exit', (code) => failed(new Error(`the local stack ended: ${code}`)));
    });
    const proxy = createServer((incoming, outgoing) => {
      const { method, url, headers } = incoming;
      const onward = request(
        direct + url,
        { method, headers: { ...headers, host: new URL(direct).host } },
        async (answer) => {
          if (method !== 'OPTIONS') stack.wire.log.push(`${method} ${url} ${answer.statusCode}`);
          if ((await stack.wire.onAnswer?.(incoming, answer)) === 'lose') return incoming.socket.destroy();
          outgoing.writeHead(answer.statusCode!, answer.rawHeaders);
          answer.pipe(outgoing);
        },
      );
      onward.on('error', () => incoming.socket.destroy());
      incoming.pipe(onward);
    });
    const api = await listen(proxy);
    stack = new Stack(api, direct, origin, local, [pages, proxy]);
    return stack;
  }

  /** An account of that name, made straight at the API. */
  async account(username: string) {
    const post = async (path: string, body: object) => {
      const response = await fetch(this.direct + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      if (!response.ok) throw new Error(await response.text());
      return (await response.json()) as any;
    };
    const email = `${username}@example.com`;
    const { signup_id } = await post('/signup', { username, email, password: PASSWORD, client: 'app' });
    await post('/verify', { signup_id, code: await this.code(email), client: 'app' });
  }

  /** The code in the newest mail to that address. */
  async code(email: string): Promise<string> {
    return /^[0-9]{8}$/m.exec(await this.mail(email))![0];
  }

  /** The link to that page in it. */
  async link(email: string, path = '/verify'): Promise<string> {
    const links = (await this.mail(email)).match(/https?:\/\/\S+/g) ?? [];
    const found = links.find((link) => new URL(link).pathname === path);
    if (!found) throw new Error(`no link to ${path}: ${links.join(' ')}`);
    return found;
  }

  private async mail(email: string): Promise<string> {
    const mails = (await (await fetch(this.direct + '/_local/mail.json')).json()) as any[];
    return mails.filter(({ to }) => JSON.stringify(to).includes(email)).at(-1).text;
  }

  /** Another tab of a browser. */
  async open(context: BrowserContext): Promise<Page> {
    const page = await context.newPage();
    await page.goto(this.page);
    await page.waitForFunction(() => window.client);
    return page;
  }

  count(start: string) {
    return this.wire.log.filter((line) => line.startsWith(start)).length;
  }

  async stop() {
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
    const ended = new Promise((done) => this.local.once('exit', done));
    this.local.kill('SIGINT');
    await ended;
  }
}

export const PASSWORD = 'correct horse battery';

export function listen(server: Server): Promise<string> {
  return new Promise((found) => {
    server.listen(0, 'localhost', () => found(`http://localhost:${(server.address() as AddressInfo).port}`));
  });
}

export class Chromium {
  private constructor(
    private readonly server: BrowserServer,
    readonly browser: Browser,
  ) {}

  static async start(): Promise<Chromium> {
    const server = await chromium.launchServer({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return new Chromium(server, await chromium.connect(server.wsEndpoint()));
  }

  /** The process of the tab that computes without end. (Chromium keeps spare ones: a new tab is not a new process.) */
  async busiest(): Promise<number> {
    const ticks = () =>
      new Map(
        this.processes().map((pid) => {
          const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
          return [pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[11])];
        }),
      );
    const before = ticks();
    await new Promise((done) => setTimeout(done, 500));
    const [[pid] = [0]] = [...ticks()].sort(([a, x], [b, y]) => y - (before.get(b) ?? y) - (x - (before.get(a) ?? x)));
    if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer')) throw new Error('no tab is busy');
    return pid;
  }

  /** The laptop's lid is shut for that long: nothing of the browser runs. */
  async sleep(milliseconds: number) {
    const pids = this.processes();
    pids.forEach((pid) => process.kill(pid, 'SIGSTOP'));
    await new Promise((done) => setTimeout(done, milliseconds));
    pids.reverse().forEach((pid) => process.kill(pid, 'SIGCONT'));
  }

  async stop() {
    await this.browser.close();
    await this.server.close();
  }

  /** The browser's process and its descendants. */
  private processes(): number[] {
    const children = new Map<number, number[]>();
    for (const name of readdirSync('/proc').filter((entry) => /^[0-9]+$/.test(entry))) {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
      } catch {
        // It ended meanwhile.
      }
    }
    const found = [this.server.process().pid!];
    for (let index = 0; index < found.length; index++) found.push(...(children.get(found[index]!) ?? []));
    return found;
  }
}

/** The names of the cookies that the browser holds, but for the one that a device is known by, which outlives sessions. */
export async function cookies(context: BrowserContext): Promise<string[]> {
  const names = (await context.cookies()).map(({ name }) => name);
  return names.filter((name) => name !== 'device').sort();
}

/** The generation in the access cookie that the browser holds. */
export async function generation(context: BrowserContext): Promise<number> {
  const token = (await context.cookies()).find(({ name }) => name === 'access')?.value;
  return token ? JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).gen : NaN;
}

/** Waits until every tab was told that, once, and was told nothing else. */
export async function told(pages: Page[], reason: SignedOutReason) {
  for (const page of pages) {
    await page.waitForFunction(() => window.reasons.length > 0, undefined, { timeout: 15_000 });
    const reasons = await page.evaluate(() => window.reasons);
    if (reasons.join() !== reason) throw new Error(`told ${reasons.join()}, not ${reason}`);
  }
}
