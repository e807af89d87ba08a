/** What a caller sees: options, methods, answers and errors. */
/** How long a session lives, and what holds its tokens (Latchkey's README, "Kinds of session"). */
export type Kind = 'browser' | 'remembered' | 'app';
/** The codes of Latchkey, and those that this client adds for answers without one. */
export type Code = 'invalid_request' | 'unsupported_media_type' | 'body_too_large' | 'weak_password' | 'invalid_email' | 'invalid_username' | 'username_taken' | 'email_taken' | 'duplicate_request' | 'invalid_credentials' | 'confirmation_required' | 'token_missing' | 'token_invalid' | 'token_expired' | 'token_reused' | 'session_ended' | 'invalid_verification'
/** The route wants the password again; see `Options.onReauthenticate`. */
 | 'reauthentication_required'
/** Of who is signed in, on a route of your own that asks for a role. */
 | 'role_required'
/** Of who is signed in, and asked for it again. */
 | 'wrong_password' | 'last_credential' | 'csrf_rejected' | 'origin_required' | 'rate_limited' | 'unavailable' | 'internal'
/** No answer came, or none that can be read. */
 | 'network'
/** A 401, 403, 404 or another status that API Gateway, or something else on the way, answered without a code. */
 | 'unauthorized' | 'forbidden' | 'not_found' | 'unexpected';
/** Why a method did not do what it was asked. */
export declare class LatchkeyError extends Error {
    readonly code: Code;
    /** The HTTP status; 0 where no answer came. */
    readonly status: number;
    /** What the server says beyond the code, for developers. */
    readonly detail?: string | undefined;
    /** Seconds after which to try again, where the server says so and lets pages read it. */
    readonly retryAfter?: number | undefined;
    /** Names a 5xx in the server's log. */
    readonly requestId?: string | undefined;
    readonly name = "LatchkeyError";
    constructor(code: Code, 
    /** The HTTP status; 0 where no answer came. */
    status: number, 
    /** What the server says beyond the code, for developers. */
    detail?: string | undefined, 
    /** Seconds after which to try again, where the server says so and lets pages read it. */
    retryAfter?: number | undefined, 
    /** Names a 5xx in the server's log. */
    requestId?: string | undefined);
}
/**
 * Why nobody is signed in any more:
 * - `logged_out`: `logout()` was called, here or in another tab;
 * - `idle`: a browser session was not used for its idle time;
 * - `expired`: the cookies ran out;
 * - `ended`: the server ended the session (log-out elsewhere, password change, its last day, a ban);
 * - `reused`: its tokens were used elsewhere: somebody has a copy;
 * - `replaced`: somebody else signed in, in this browser;
 * - `deleted`: `deleteAccount()` was called, here or in another tab.
 */
export type SignedOutReason = 'logged_out' | 'idle' | 'expired' | 'ended' | 'reused' | 'replaced' | 'deleted';
/** A user, as the server shows it. Times are RFC 3339, of the server's clock. */
export interface User {
    id: string;
    username: string;
    email: string;
    /** The language of mails to them. */
    locale: string;
    /** What operators made them; not there where that is nothing. */
    roles?: string[];
    created_at: string;
}
/** A session, as the server shows it. */
export interface Session {
    id: string;
    kind: Kind;
    created_at: string;
    idle_expires_at: string;
    expires_at: string;
}
/** Who is signed in. */
export interface SignedIn {
    user: User;
    session: Session;
}
/** One of the user's sessions. */
export interface ListedSession {
    id: string;
    kind: Kind;
    device: string;
    created_at: string;
    last_used_at: string;
    expires_at: string;
    current: boolean;
}
/**
 * Where an app keeps its session: Keychain, Keystore, SecureStore. One text, of about 1 KB, that `set` replaces whole
 * or not at all; `set` resolves once it is durable. A failure of either is passed on, and signs nobody out.
 */
export interface TokenStore {
    get(): Promise<string | null>;
    set(text: string): Promise<void>;
}
/** What the client asks of the world. Each member has a default; tests, and engines that lack one, bring their own. */
export interface Platform {
    fetch(url: string, init: RequestInit): Promise<Response>;
    /** Milliseconds on a clock that nobody sets. */
    now(): number;
    /** Milliseconds on the device's clock. Only its jumps against `now` are looked at: the device slept. */
    date(): number;
    setTimeout(callback: () => void, milliseconds: number): unknown;
    clearTimeout(timer: any): void;
    /** From 0 to 1, for jitter. */
    random(): number;
    /** 128 random bits or more, as 22 to 255 plain characters, for a refresh's `Idempotency-Key`. */
    key(): string;
    /** Web Locks. Without them: a lock in this process alone. One of your own may leave `signal` alone. */
    locks: {
        request<T>(name: string, options: {
            mode: 'shared' | 'exclusive';
            signal?: AbortSignal;
        }, callback: () => Promise<T>): Promise<T>;
    };
    /** A BroadcastChannel, to tell the other tabs. */
    channel?(name: string): {
        postMessage(message: unknown): void;
        onmessage: any;
        close(): void;
        unref?(): void;
    };
    /** localStorage, or what is in its place. */
    storage?: Pick<Storage, 'getItem' | 'setItem'> | null;
    /** Listens to the page, and returns what stops it. */
    listen(type: string, handler: (event: any) => void): () => void;
    /** Whether the person may be looking. */
    visible(): boolean;
}
/** What a client is made of. */
export interface Options {
    /** The API's URL. A page has to be same-site with it. */
    api: string;
    /** Makes it an app's client, with tokens in this store and no cookies. */
    store?: TokenStore;
    /** Called once for each session that ends, in every tab: the place for the redirect to the login page. */
    onSignedOut?(reason: SignedOutReason): void;
    /** Called when somebody has signed in in another tab, while nobody was in this one: the place to call `me`. */
    onSignedIn?(): void;
    /**
     * Called when a request takes a recent proof of who is there (`reauthentication_required`): brings the password, or
     * nothing to let it be. Then the session is replaced by a new one, and the request repeated, once. After a wrong
     * password it is called again, with the `wrong_password` that came. It is called, too, when the session has ended and
     * an answer was lost that may have replaced it: the password brings that again, and without it nobody is signed in.
     */
    onReauthenticate?(problem?: LatchkeyError): Promise<string | null | undefined> | string | null | undefined;
    /** Milliseconds to wait for an answer, and before that for the other tabs; 30000 if not given. */
    timeout?: number;
    platform?: Partial<Platform>;
}
/** What proves a sign-up; see `POST /verify`. In a browser that signed up, `signup_id` comes by cookie. */
export interface Verification {
    code?: string;
    token?: string;
    signup_id?: string;
    password?: string;
    /** Another name than at sign-up, should that be taken by now. */
    username?: string;
    remember?: boolean;
}
/** What proves that a password may be reset: the mailed link's token, or the code on the device that asked. */
export interface Reset {
    token?: string;
    code?: string;
    /** What `forgotPassword` brought. In a browser it comes by cookie. */
    reset_id?: string;
    /** The new password. */
    password: string;
}
/** A client. Every method but `fetch` rejects with a `LatchkeyError`. */
export interface Client {
    /** Begins a sign-up. `expires_in`: seconds that the mailed link works. A browser has `signup_id` in its cookie alone. */
    signUp(signup: {
        username: string;
        email: string;
        password: string;
        locale?: string;
    }): Promise<{
        signup_id?: string;
        expires_in: number;
    }>;
    /** Has another mail sent. */
    resend(signup_id?: string): Promise<{
        expires_in: number;
    }>;
    /** Completes a sign-up and signs in. */
    verify(verification: Verification): Promise<SignedIn>;
    /** Signs in, with `username` or `email`. Whoever was signed in here is no longer. */
    login(credentials: {
        username?: string;
        email?: string;
        password: string;
        remember?: boolean;
    }): Promise<SignedIn>;
    /** Ends the session, or all of the user's. Rejects, and nobody is signed out, if the server did not hear of it. */
    logout(options?: {
        everywhere?: boolean;
    }): Promise<void>;
    /** Asks who is signed in; `null`: nobody. Call it when a page loads. */
    me(): Promise<SignedIn | null>;
    /** Gives the password again, for what wants that to be recent. The session is replaced by a new one, in every tab. */
    reauthenticate(password: string): Promise<SignedIn>;
    /**
     * Has a link and a code mailed that set a new password. The answer is the same for whatever name or address.
     * `expires_in`: seconds that the link works; `reset_id`: an app's, to keep for the code.
     */
    forgotPassword(account: {
        username?: string;
        email?: string;
        locale?: string;
    }): Promise<{
        reset_id?: string;
        expires_in: number;
    }>;
    /** Sets a new password, by what was mailed. Ends all of the user's sessions, and signs nobody in. */
    resetPassword(reset: Reset): Promise<void>;
    /** Sets another password. All the user's other sessions end, and this one is replaced by a new one. */
    changePassword(password: string, newPassword: string): Promise<SignedIn>;
    /** Has a link and a code mailed to another address, which is theirs once that is confirmed. */
    changeEmail(email: string): Promise<{
        change_id: string;
        expires_in: number;
    }>;
    /** Confirms it: the mailed link's token, or the code. */
    confirmEmail(proof: {
        token?: string;
        change_id?: string;
        code?: string;
    }): Promise<void>;
    /** Changes the user's name, the language of their mails, or both. */
    updateMe(changes: {
        username?: string;
        locale?: string;
    }): Promise<SignedIn>;
    /** Deletes the account. Nobody is signed in afterwards. */
    deleteAccount(): Promise<void>;
    /** Everything that is held about the user. */
    exportMe(): Promise<Record<string, unknown>>;
    /** The user's sessions, on all devices. */
    sessions(): Promise<ListedSession[]>;
    /** Ends one of them. */
    endSession(id: string): Promise<void>;
    /**
     * `fetch` for the API's routes: `path` is below `api`. Sends the credentials, refreshes once when it must, asks for
     * the password once when it must, and repeats the request after either. Once signed out, requests carry no credentials
     * until `me`, `login` or `verify`.
     */
    fetch(path: string, init?: RequestInit): Promise<Response>;
    /** Refreshes now. `false`: nobody is signed in. */
    refresh(): Promise<boolean>;
    /**
     * Milliseconds until the timer refreshes, if the person is there; `undefined` while that is unknown: nobody is signed
     * in, or the page has just loaded, and nothing has refreshed since.
     */
    refreshIn(): number | undefined;
    /** Says that the person is there. Pages notice by themselves; an app calls it when it comes to the foreground. */
    active(): void;
    /** Stops its timer and listeners; the session goes on. */
    close(): void;
}
/** Makes a client. One for each page, or app. */
export declare function createClient(options: Options): Client;
