/**
 * The server as the client meets it: DESIGN.md sections 5 and 9, on a clock that tests move. A twin of
 * `shared::session`.
 */

export interface Lifetimes {
  browserIdle: number;
  browserAbsolute: number;
  access: number;
  appIdle: number;
  appAbsolute: number;
}

export interface Inbound {
  method: string;
  path: string;
  body: any;
  headers: Map<string, string>;
  cookies: Map<string, string>;
}

export interface Outbound {
  status: number;
  body?: any;
  /** `undefined`: clear. */
  setCookies: Map<string, { value: string; maxAge: number } | undefined>;
  headers?: Record<string, string>;
}

interface StoredSession {
  id: string;
  user: string;
  kind: 'browser' | 'remembered' | 'app';
  generation: number;
  createdAt: number;
  rotatedAt: number;
  idleExpiresAt: number;
  expiresAt: number;
  keys: (string | undefined)[];
  authenticatedAt: number;
  wrongPasswords: number;
}

/** What is left of a session that another replaced: it opens nothing but the same request again. */
interface Mark {
  user: string;
  by: string;
  request: string | undefined;
  until: number;
}

const DUPLICATE_WINDOW = 60;
/** Seconds for which requests under way may carry the generation before. */
const OLD_REQUESTS = 60;
/** A body that may have been that long under way. Bytes. */
const LONG_BODY = 16 * 1024;
const GRACE = 10;
/** Seconds for which a proof is recent. */
const FRESH = 300;
/** Seconds for which a replaced session leaves a mark. */
const REPLACEMENT_WINDOW = 600;
const MAX_WRONG_PASSWORDS = 10;

export class Server {
  readonly sessions = new Map<string, StoredSession>();
  readonly log: string[] = [];
  rotations = 0;
  replacements = 0;
  alarms = 0;
  /** Everybody's password is `p`, unless it was changed. */
  readonly passwords = new Map<string, string>();
  private readonly marks = new Map<string, Mark>();
  private nextId = 1;
  /** Answers instead of the server, while it returns something. */
  intercept: (inbound: Inbound) => Outbound | undefined = () => undefined;

  /** `now` is in seconds, as the real one counts. */
  constructor(
    private readonly now: () => number,
    readonly lifetimes: Lifetimes = {
      browserIdle: 1800,
      browserAbsolute: 86_400,
      access: 900,
      appIdle: 2_592_000,
      appAbsolute: 15_552_000,
    },
  ) {}

  handle(inbound: Inbound): Outbound {
    const answer = this.intercept(inbound) ?? this.route(inbound);
    this.log.push(`${inbound.method} ${inbound.path} ${answer.body?.code ?? answer.status}`);
    return answer;
  }

  count(start: string) {
    return this.log.filter((line) => line.startsWith(start)).length;
  }

  private route(inbound: Inbound): Outbound {
    switch (`${inbound.method} ${inbound.path}`) {
      case 'POST /signup':
        return answer(202, { signup_id: 'su', expires_in: 86_400, body: inbound.body });
      case 'POST /signup/resend':
        return answer(202, { expires_in: 86_400 });
      case 'POST /verify':
      case 'POST /login':
        return this.signIn(inbound);
      case 'POST /refresh':
        return this.refresh(inbound);
      case 'POST /logout':
        return this.logout(inbound);
      case 'GET /me':
        return this.me(inbound);
      case 'GET /own':
        return this.own(inbound);
      case 'POST /reauthenticate':
      case 'POST /password/change':
        return this.replace(inbound);
      case 'POST /password/forgot':
        return answer(202, { expires_in: 86_400, reset_id: inbound.body.client && 're' });
      case 'POST /password/reset':
        return inbound.body.client ? answer(200, { device: 'd' }) : answer(204);
      case 'POST /vault':
        return this.fresh(inbound, () => answer(200, { opened: true }));
      case 'POST /email/change':
        return this.fresh(inbound, () => answer(202, { change_id: 'ch', expires_in: 86_400 }));
      case 'POST /email/confirm':
        return this.protect(inbound, () => answer(204));
      case 'PATCH /me':
        return this.protect(inbound, (session) => answer(200, this.view(session)));
      case 'GET /me/export':
        return this.fresh(inbound, ({ user }) => answer(200, { user }));
      case 'DELETE /me':
        return this.fresh(inbound, ({ user }) => {
          for (const { id, user: owner } of this.sessions.values()) if (owner === user) this.sessions.delete(id);
          return { ...answer(204), setCookies: cleared() };
        });
      case 'GET /sessions':
        return this.list(inbound);
    }
    if (inbound.method === 'DELETE' && inbound.path.startsWith('/sessions/')) {
      this.sessions.delete(inbound.path.slice(10));
      return answer(204);
    }
    return answer(404, { message: 'Not Found' });
  }

  /** What the page of the mailed link does: a session that no client began. */
  signIn({ path, body, cookies, headers }: Inbound): Outbound {
    const user = body.username ?? body.email ?? 'ann';
    if (body.password === 'wrong') return problem(401, 'invalid_credentials');
    const replaced = [...this.presented(cookies, headers)];
    const kind = body.client === 'app' ? 'app' : body.remember ? 'remembered' : 'browser';
    const now = this.now();
    const idle = kind === 'browser' ? this.lifetimes.browserIdle : this.lifetimes.appIdle;
    const absolute = kind === 'browser' ? this.lifetimes.browserAbsolute : this.lifetimes.appAbsolute;
    const session: StoredSession = {
      id: `s${this.nextId++}`,
      user,
      kind,
      generation: 1,
      createdAt: now,
      rotatedAt: now,
      idleExpiresAt: now + Math.min(idle, absolute),
      expiresAt: now + absolute,
      keys: [undefined, undefined, undefined],
      authenticatedAt: now,
      wrongPasswords: 0,
    };
    replaced.forEach((id) => this.sessions.delete(id));
    this.sessions.set(session.id, session);
    const response = this.sessionResponse(path === '/verify' ? 201 : 200, session);
    // A browser has it in a cookie.
    if (kind === 'app') response.body.device = body.device ?? `device of ${user}`;
    return response;
  }

  /** Fresh authentication (section 9): the session is replaced, and leaves a mark for the same request again. */
  private replace(inbound: Inbound): Outbound {
    const { path, body, headers, cookies } = inbound;
    const key = headers.get('idempotency-key');
    if (key !== undefined && !/^[!-+\--~]{22,255}$/.test(key)) return problem(400, 'invalid_request');
    const token = headers.get('authorization')?.slice(7) ?? cookies.get('access');
    const mark = token ? this.marks.get(parse(token).id) : undefined;
    const now = this.now();
    const afterwards = body.new_password ?? body.password;
    if (mark && key && mark.request === `${path} ${key}` && now < mark.until) {
      const session = this.sessions.get(mark.by);
      if (this.passwordOf(mark.user) !== afterwards) return problem(403, 'wrong_password');
      if (session?.generation !== 1) return problem(401, 'session_ended');
      return this.sessionResponse(200, session);
    }
    const old = this.caller(inbound);
    if ('status' in old) return old;
    if (body.password !== this.passwordOf(old.user)) {
      if (++old.wrongPasswords >= MAX_WRONG_PASSWORDS) this.sessions.delete(old.id);
      return problem(403, 'wrong_password');
    }
    old.wrongPasswords = 0;
    if (afterwards === 'weak') return problem(422, 'weak_password');
    if (path === '/password/change') {
      this.passwords.set(old.user, afterwards);
      for (const { id, user } of this.sessions.values()) if (user === old.user) this.sessions.delete(id);
    }
    const idle = old.kind === 'browser' ? this.lifetimes.browserIdle : this.lifetimes.appIdle;
    const session: StoredSession = {
      ...old,
      id: `s${this.nextId++}`,
      generation: 1,
      createdAt: now,
      rotatedAt: now,
      idleExpiresAt: Math.min(now + idle, old.expiresAt),
      keys: [undefined, undefined, undefined],
      authenticatedAt: now,
    };
    this.sessions.delete(old.id);
    this.sessions.set(session.id, session);
    const request = key && `${path} ${key}`;
    this.marks.set(old.id, { user: old.user, by: session.id, request, until: now + REPLACEMENT_WINDOW });
    this.replacements++;
    return this.sessionResponse(200, session);
  }

  private readonly passwordOf = (user: string) => this.passwords.get(user) ?? 'p';

  private protect(inbound: Inbound, handle: (session: StoredSession) => Outbound): Outbound {
    const session = this.caller(inbound);
    return 'status' in session ? session : handle(session);
  }

  private fresh(inbound: Inbound, handle: (session: StoredSession) => Outbound): Outbound {
    return this.protect(inbound, (session) =>
      this.now() - session.authenticatedAt <= FRESH ? handle(session) : problem(403, 'reauthentication_required'),
    );
  }

  private refresh({ body, headers, cookies }: Inbound): Outbound {
    const key = headers.get('idempotency-key');
    if (key !== undefined && !/^[!-+\--~]{22,255}$/.test(key)) return problem(400, 'invalid_request');
    const opaque = body?.refresh ?? cookies.get('refresh');
    const kind = body?.refresh ? 'app' : cookies.get('refresh') ? 'remembered' : 'browser';
    const token = opaque ?? cookies.get('access');
    if (!token) return problem(401, 'token_missing');
    const { id, generation, exp } = parse(token);
    const now = this.now();
    if (kind === 'browser' && now >= exp) return problem(401, 'token_expired');
    const session = this.sessions.get(id);
    if (!session || now >= session.idleExpiresAt) return problem(401, 'session_ended');
    if (session.kind !== kind) return problem(401, 'token_invalid');
    if (generation > session.generation) return problem(401, 'session_ended');
    if (generation === session.generation) {
      if (key && key === session.keys[0]) return problem(400, 'invalid_request');
      const idle = kind === 'browser' ? this.lifetimes.browserIdle : this.lifetimes.appIdle;
      session.generation++;
      session.rotatedAt = now;
      session.idleExpiresAt = Math.min(now + idle, session.expiresAt);
      session.keys = [key, ...session.keys.slice(0, 2)];
      this.rotations++;
      return this.sessionResponse(200, session);
    }
    const age = now - session.rotatedAt;
    if (generation + 1 === session.generation) {
      if (key && key === session.keys[0]) return this.sessionResponse(200, session);
      if (kind !== 'app' && !key && !session.keys[0] && age <= GRACE) return this.sessionResponse(200, session);
    }
    if (key && session.keys.includes(key) && age <= DUPLICATE_WINDOW) return problem(409, 'duplicate_request');
    this.sessions.delete(id);
    this.alarms++;
    return { ...problem(401, 'token_reused'), setCookies: cleared() };
  }

  private logout({ body, headers, cookies }: Inbound): Outbound {
    const ids = [...this.presented(cookies, headers)];
    if (body?.everywhere) {
      const token = body.refresh ?? cookies.get('refresh') ?? cookies.get('access');
      if (!token) return problem(401, 'token_missing');
      const { id, generation, exp } = parse(token);
      const session = this.sessions.get(id);
      if (exp && this.now() >= exp) return problem(401, 'token_expired');
      if (!session || (!exp && generation !== session.generation)) return problem(401, 'session_ended');
      for (const other of this.sessions.values()) if (other.user === session.user) ids.push(other.id);
    } else if (body?.refresh) {
      ids.push(parse(body.refresh).id);
    }
    ids.forEach((id) => this.sessions.delete(id));
    return { ...answer(204), setCookies: cleared() };
  }

  private caller({ headers, cookies, body }: Inbound): StoredSession | Outbound {
    const token = headers.get('authorization')?.slice(7) ?? cookies.get('access');
    if (!token) return problem(401, 'token_missing');
    const { id, exp, generation } = parse(token);
    if (this.now() >= exp) return problem(401, 'token_expired');
    const session = this.sessions.get(id);
    if (!session || this.now() >= session.idleExpiresAt) return problem(401, 'session_ended');
    // «Older generations anywhere»: /refresh decides by its key; what is older still was used elsewhere.
    if (session.kind === 'app' || generation === session.generation) return session;
    if (generation + 1 === session.generation) {
      return this.now() - session.rotatedAt <= OLD_REQUESTS ? session : problem(401, 'token_expired');
    }
    if (JSON.stringify(body ?? '').length > LONG_BODY) return problem(401, 'token_expired');
    this.sessions.delete(id);
    this.alarms++;
    return problem(401, 'token_reused');
  }

  private me(inbound: Inbound): Outbound {
    const session = this.caller(inbound);
    if ('status' in session) return session;
    const now = this.now();
    const cookie = inbound.cookies.get('access');
    const result = answer(200);
    if (cookie && session.kind === 'browser') {
      const { generation, exp } = parse(cookie);
      const extended = Math.min(now + this.lifetimes.browserIdle, session.expiresAt);
      if (generation === session.generation && exp - now < this.lifetimes.browserIdle / 2 && extended > exp) {
        session.idleExpiresAt = extended;
        result.setCookies.set('access', { value: this.access(session), maxAge: extended - now });
      }
    }
    result.body = this.view(session);
    return result;
  }

  /** A route of the app's own, behind the authorizer: its refusal is API Gateway's bare 403. */
  private own(inbound: Inbound): Outbound {
    const session = this.caller(inbound);
    return 'status' in session ? answer(403, { message: 'Forbidden' }) : answer(200, { user: session.user });
  }

  private list(inbound: Inbound): Outbound {
    const caller = this.caller(inbound);
    if ('status' in caller) return caller;
    const sessions = [...this.sessions.values()].filter(({ user }) => user === caller.user);
    return answer(200, { sessions: sessions.map(({ id, kind }) => ({ id, kind, current: id === caller.id })) });
  }

  private *presented(cookies: Map<string, string>, headers: Map<string, string>) {
    for (const token of [cookies.get('refresh'), cookies.get('access'), headers.get('authorization')?.slice(7)]) {
      if (token) yield parse(token).id;
    }
  }

  private view({ id, user, kind, createdAt, idleExpiresAt, expiresAt }: StoredSession) {
    const time = (seconds: number) => new Date(seconds * 1000).toISOString();
    return {
      user: { id: `id of ${user}`, username: user, email: `${user}@example.com`, locale: 'en', created_at: time(0) },
      session: {
        id,
        kind,
        created_at: time(createdAt),
        idle_expires_at: time(idleExpiresAt),
        expires_at: time(expiresAt),
      },
    };
  }

  private expiresIn(session: StoredSession) {
    const life = session.kind === 'browser' ? this.lifetimes.browserIdle : this.lifetimes.access;
    return Math.min(life, session.idleExpiresAt - this.now());
  }

  private access(session: StoredSession) {
    return `${session.id}.${session.generation}.${this.now() + this.expiresIn(session)}`;
  }

  private sessionResponse(status: number, session: StoredSession): Outbound {
    const expires_in = this.expiresIn(session);
    const access = this.access(session);
    const refresh = `${session.id}.${session.generation}.0`;
    if (session.kind === 'app') {
      return answer(status, { ...this.view(session), token: { expires_in, access, refresh } });
    }
    const result = answer(status, { ...this.view(session), token: { expires_in } });
    result.setCookies.set('access', { value: access, maxAge: expires_in });
    const idleLeft = session.idleExpiresAt - this.now();
    result.setCookies.set('refresh', session.kind === 'browser' ? undefined : { value: refresh, maxAge: idleLeft });
    return result;
  }
}

export function answer(status: number, body?: any, headers?: Record<string, string>): Outbound {
  return { status, body, headers, setCookies: new Map() };
}

export function problem(status: number, code: string): Outbound {
  return answer(status, { code, status, detail: 'why' });
}

const cleared = () =>
  new Map([
    ['access', undefined],
    ['refresh', undefined],
  ]);

function parse(token: string) {
  const [id = '', generation, exp] = token.split('.');
  return { id, generation: Number(generation), exp: Number(exp) };
}
