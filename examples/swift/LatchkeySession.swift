// NOT COMPILED, NOT RUN: no Swift toolchain was at hand when this was written. The Kotlin example beside it follows the
// same rules, and was compiled and run; compare before you use this. Meant for Swift 5.9, iOS 16, macOS 13.

import Foundation
import Security

/// One value, replaced whole or not at all, and durable when `set` returns.
protocol TokenStore: Sendable {
    func get() async throws -> Data?
    func set(_ data: Data?) async throws
}

/// One Keychain item, for this device alone, that a refresh in the background can read once the device was unlocked.
struct KeychainStore: TokenStore {
    struct Failure: Error { let status: OSStatus }

    var service = "latchkey"

    private var item: [CFString: Any] {
        [kSecClass: kSecClassGenericPassword, kSecAttrService: service, kSecAttrAccount: "session"]
    }

    func get() throws -> Data? {
        var found: CFTypeRef?
        let status = SecItemCopyMatching(item.merging([kSecReturnData: true]) { $1 } as CFDictionary, &found)
        if status == errSecItemNotFound { return nil }
        guard status == errSecSuccess else { throw Failure(status: status) }
        return found as? Data
    }

    func set(_ data: Data?) throws {
        var status: OSStatus
        if let data {
            let value: [CFString: Any] = [
                kSecValueData: data,
                kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
            status = SecItemUpdate(item as CFDictionary, value as CFDictionary)
            if status == errSecItemNotFound { status = SecItemAdd(item.merging(value) { $1 } as CFDictionary, nil) }
        } else {
            status = SecItemDelete(item as CFDictionary)
            if status == errSecItemNotFound { status = errSecSuccess }
        }
        guard status == errSecSuccess else { throw Failure(status: status) }
    }
}

struct Answer: Sendable {
    let status: Int
    let body: Data

    /// Empty where API Gateway answered for itself.
    var code: String { (try? JSONDecoder().decode(Coded.self, from: body))?.code ?? "" }

    private struct Coded: Decodable { let code: String? }
}

enum LatchkeyError: Error {
    /// Nobody is signed in any more, and why: `token_reused` means that somebody has a copy of the tokens.
    case signedOut(code: String)
    case problem(status: Int, code: String)
}

/// The session of this app: one instance for each process, and one process, as its lock ends there.
actor LatchkeySession {
    private struct Entry: Codable, Sendable {
        var access: String
        var refresh: String
        /// The `Idempotency-Key` of a refresh that is not answered yet.
        var key: String?
    }

    private struct SessionResponse: Decodable {
        struct Token: Decodable {
            let expires_in: Double
            let access: String
            let refresh: String
        }

        let token: Token
    }

    private struct SignupResponse: Decodable { let signup_id: String }

    /// What a refused refresh says of the session. Nothing else ends one.
    private static let ends: Set<String> = [
        "token_missing", "token_invalid", "token_expired", "session_ended", "token_reused",
    ]
    private static let tries = 3

    private let api: String
    private let store: any TokenStore
    private let network: URLSession
    private let clock = ContinuousClock() // goes on in sleep, and nobody sets it
    /// When the token is to be refreshed, and when it ends. `nil`: its answer came to another process.
    private var refreshAt: ContinuousClock.Instant?
    private var expiresAt: ContinuousClock.Instant?
    private var last: Task<Void, Never>?

    /// `api` without a slash at its end: `https://api.example.com`.
    init(api: String, store: any TokenStore = KeychainStore()) {
        self.api = api
        self.store = store
        let configuration = URLSessionConfiguration.ephemeral // nothing on disk
        configuration.httpCookieStorage = nil
        configuration.urlCache = nil
        configuration.timeoutIntervalForResource = 10
        network = URLSession(configuration: configuration)
    }

    /// Brings the `signup_id`: keep it until `verify`.
    func signUp(username: String, email: String, password: String) async throws -> String {
        let body = ["username": username, "email": email, "password": password, "client": "app"]
        return try JSONDecoder().decode(SignupResponse.self, from: try await call("/signup", body).body).signup_id
    }

    func verify(signupId: String, code: String) async throws {
        try await signIn("/verify", ["signup_id": signupId, "code": code])
    }

    /// `token` is the one in the link that the app was opened with.
    func verify(signupId: String, token: String) async throws {
        try await signIn("/verify", ["signup_id": signupId, "token": token])
    }

    func logIn(username: String, password: String) async throws {
        try await signIn("/login", ["username": username, "password": password])
    }

    /// Ends the session. Throws, and nobody is signed out, if the server did not hear of it.
    func logOut() async throws {
        try await exclusive { try await self.endSession() }
    }

    func refresh() async throws {
        _ = try await refresh(from: try await current())
    }

    /// Calls a route with a good access token; refreshes ahead of its end, or once if it was refused.
    func request(_ method: String, _ path: String, body: [String: String]? = nil) async throws -> Answer {
        var entry = try await current()
        if isPast(refreshAt) {
            do {
                entry = try await refresh(from: entry)
            } catch {
                if case LatchkeyError.signedOut = error { throw error }
                if isPast(expiresAt) { throw error }
                // The token is still good: the request goes out, and the next refresh can wait.
                refreshAt = clock.now + .seconds(30)
            }
        }
        let answer = try await send(method, path, bearer(entry), body)
        guard try await isStale(answer, entry) else { return answer }
        return try await send(method, path, bearer(try await refresh(from: entry)), body)
    }

    // MARK: One at a time

    /// Waits for whoever came before. An actor alone is no lock, as others get in at each `await`.
    private func exclusive<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
        let before = last
        // A task of its own: the screen that asked may go away, and the answer is stored all the same.
        let task = Task { () async throws -> T in
            await before?.value
            return try await work()
        }
        last = Task { _ = await task.result }
        return try await task.value
    }

    /// Refreshes from `seen`, unless somebody has done so meanwhile.
    private func refresh(from seen: Entry) async throws -> Entry {
        try await exclusive { try await self.rotate(from: seen) }
    }

    private func signIn(_ path: String, _ body: [String: String]) async throws {
        try await exclusive { try await self.startSession(path, body) }
    }

    // MARK: With the lock held

    private func rotate(from seen: Entry) async throws -> Entry {
        for attempt in 1...Self.tries {
            var entry = try await current()
            if entry.refresh != seen.refresh { return entry }
            // A key in the store may have been sent, by an earlier attempt or by a process that died.
            let wasSent = entry.key != nil
            let key = entry.key ?? Self.freshKey()
            if !wasSent {
                // Stored before it is sent, with the token that it belongs to.
                entry.key = key
                try await save(entry)
            }
            let sentAt = clock.now
            var answer: Answer?
            do {
                answer = try await send("POST", "/refresh", ["idempotency-key": key], ["refresh": entry.refresh])
            } catch let fault as URLError {
                if attempt == Self.tries { throw fault }
            }
            if let answer {
                let (status, code) = (answer.status, answer.code)
                if status == 200 { return try await accept(answer, sentAt) }
                if status == 401, Self.ends.contains(code) {
                    try await forget()
                    throw LatchkeyError.signedOut(code: code)
                }
                let isUsedUp = code == "invalid_request" && wasSent
                let isTransient = status == 429 || status >= 500 || code == "duplicate_request"
                if attempt == Self.tries || !(isUsedUp || isTransient) {
                    throw LatchkeyError.problem(status: status, code: code)
                }
                if isUsedUp {
                    // By an answer that did arrive: the session lives, and takes a fresh key.
                    entry.key = nil
                    try await save(entry)
                    continue
                }
            }
            try await Task.sleep(for: .milliseconds(250 << attempt))
        }
        throw LatchkeyError.problem(status: 0, code: "network")
    }

    private func startSession(_ path: String, _ body: [String: String]) async throws {
        let sentAt = clock.now
        // The server ends the session that the request came with, so that no second one stays behind.
        let before = try await load()
        let answer = try await call(path, body.merging(["client": "app"]) { $1 }, before.map(bearer) ?? [:])
        _ = try await accept(answer, sentAt)
    }

    private func endSession() async throws {
        guard let entry = try await load() else { return }
        let answer = try await send("POST", "/logout", [:], ["refresh": entry.refresh])
        // 401: the server knows no such token.
        guard answer.status == 204 || answer.status == 401 else {
            throw LatchkeyError.problem(status: answer.status, code: answer.code)
        }
        try await forget()
    }

    /// The new tokens are stored and the key is cleared in one step.
    private func accept(_ answer: Answer, _ sentAt: ContinuousClock.Instant) async throws -> Entry {
        let token = try JSONDecoder().decode(SessionResponse.self, from: answer.body).token
        let entry = Entry(access: token.access, refresh: token.refresh, key: nil)
        try await save(entry)
        refreshAt = sentAt + .seconds(token.expires_in * 3 / 4)
        expiresAt = sentAt + .seconds(token.expires_in)
        return entry
    }

    // MARK: The store

    private func current() async throws -> Entry {
        guard let entry = try await load() else { throw LatchkeyError.signedOut(code: "token_missing") }
        return entry
    }

    /// What cannot be read is as good as lost. What the store throws is passed on, and signs nobody out.
    private func load() async throws -> Entry? {
        guard let data = try await store.get() else { return nil }
        return try? JSONDecoder().decode(Entry.self, from: data)
    }

    private func save(_ entry: Entry) async throws {
        try await store.set(try JSONEncoder().encode(entry))
    }

    private func forget() async throws {
        try await store.set(nil)
        refreshAt = nil
        expiresAt = nil
    }

    // MARK: The network

    /// Whether another access token may bring another answer.
    private func isStale(_ answer: Answer, _ entry: Entry) async throws -> Bool {
        guard answer.status == 401 || answer.status == 403 else { return false }
        if !answer.code.isEmpty { return answer.status == 401 && Self.ends.contains(answer.code) }
        // API Gateway's authorizer says no more than that. /me knows whether it is the token.
        return try await send("GET", "/me", bearer(entry), nil).status == 401
    }

    private func isPast(_ time: ContinuousClock.Instant?) -> Bool {
        guard let time else { return false }
        return clock.now >= time
    }

    private func bearer(_ entry: Entry) -> [String: String] { ["authorization": "Bearer \(entry.access)"] }

    private func call(_ path: String, _ body: [String: String], _ headers: [String: String] = [:]) async throws -> Answer {
        let answer = try await send("POST", path, headers, body)
        guard 200...299 ~= answer.status else {
            throw LatchkeyError.problem(status: answer.status, code: answer.code)
        }
        return answer
    }

    private func send(
        _ method: String, _ path: String, _ headers: [String: String], _ body: [String: String]?
    ) async throws -> Answer {
        guard let url = URL(string: api + path) else { throw URLError(.badURL) }
        var request = URLRequest(url: url)
        request.httpMethod = method
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        if let body {
            request.setValue("application/json", forHTTPHeaderField: "content-type")
            request.httpBody = try JSONEncoder().encode(body)
        }
        let (data, response) = try await network.data(for: request)
        return Answer(status: (response as? HTTPURLResponse)?.statusCode ?? 0, body: data)
    }

    private static func freshKey() -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        precondition(SecRandomCopyBytes(kSecRandomDefault, bytes.count, &bytes) == errSecSuccess)
        return Data(bytes).base64EncodedString() // 24 characters
    }
}
