// NOT COMPILED: no Swift toolchain was at hand when this was written. The Kotlin example beside it is the same actor,
// compiled and run; compare before you use it.

import Foundation
import Security

/// One text, replaced whole or not at all, and durable when `set` returns: a Keychain item, say.
protocol TokenStore: Sendable {
    func get() async throws -> Data?
    func set(_ data: Data?) async throws
}

struct Answer: Sendable {
    let status: Int
    let body: Data

    var code: String { (try? JSONDecoder().decode([String: AnyJSON].self, from: body))?["code"]?.text ?? "" }
}

enum LatchkeyError: Error {
    /// Nobody is signed in any more, and why: `token_reused` means that somebody has a copy of the tokens.
    case signedOut(code: String)
    case problem(status: Int, code: String)
}

/// The session of this app: one instance for each process. An actor alone is no lock, as others get in at each `await`:
/// `refreshing` is what keeps it at one refresh at a time.
actor LatchkeySession {
    private struct Entry: Codable {
        var access: String
        var refresh: String
        /// The `Idempotency-Key` of a refresh that is not answered yet.
        var key: String?
    }

    private struct SessionResponse: Decodable {
        struct Token: Decodable { let expires_in: Double; let access: String; let refresh: String }
        let token: Token
    }

    /// What a refused refresh says of the session. Nothing else ends one.
    private static let ends: Set = ["token_missing", "token_invalid", "token_expired", "session_ended", "token_reused"]
    private static let tries = 3

    private let store: TokenStore
    private let api: URL
    private let network: URLSession
    private let clock = ContinuousClock() // goes on in sleep, and nobody sets it
    private var refreshAt: ContinuousClock.Instant?
    private var refreshing: Task<Entry, Error>?

    init(api: URL, store: TokenStore) {
        self.api = api
        self.store = store
        let configuration = URLSessionConfiguration.ephemeral // no cookies, no cache
        configuration.httpShouldSetCookies = false
        configuration.timeoutIntervalForResource = 10
        network = URLSession(configuration: configuration)
    }

    func signIn(path: String, body: [String: String]) async throws {
        let sentAt = clock.now
        let answer = try await send("POST", path, [:], body.merging(["client": "app"]) { $1 })
        guard 200...299 ~= answer.status else { throw LatchkeyError.problem(status: answer.status, code: answer.code) }
        _ = try await accept(answer.body, sentAt)
    }

    /// Calls a route with a good access token; refreshes ahead of its end, or once if it was refused.
    func request(_ method: String, _ path: String, body: [String: String]? = nil) async throws -> Answer {
        var entry = try await current()
        if let refreshAt, clock.now >= refreshAt { entry = try await refresh() }
        let answer = try await send(method, path, ["authorization": "Bearer \(entry.access)"], body)
        // API Gateway's authorizer refuses by a bare 403.
        guard answer.status == 401 || (answer.status == 403 && answer.code.isEmpty) else { return answer }
        entry = try await refresh()
        return try await send(method, path, ["authorization": "Bearer \(entry.access)"], body)
    }

    /// One at a time: whoever asks meanwhile waits for the same.
    @discardableResult
    func refresh() async throws -> Entry {
        if let refreshing { return try await refreshing.value }
        let task = Task { try await rotate() }
        refreshing = task
        defer { refreshing = nil }
        return try await task.value
    }

    func logOut() async throws {
        _ = try? await refreshing?.value
        guard let entry = try await load() else { return }
        let answer = try await send("POST", "/logout", [:], ["refresh": entry.refresh])
        guard answer.status == 204 else { throw LatchkeyError.problem(status: answer.status, code: answer.code) }
        try await store.set(nil)
    }

    private func rotate() async throws -> Entry {
        var entry = try await current()
        // A key in the store may have been sent by a process that died before it could store the answer.
        var wasSent = entry.key != nil
        for attempt in 1...Self.tries {
            if entry.key == nil {
                // Stored before it is sent, with the token that it belongs to.
                entry.key = Self.freshKey()
                try await save(entry)
            }
            let sentAt = clock.now
            do {
                let answer = try await send("POST", "/refresh", ["idempotency-key": entry.key!], ["refresh": entry.refresh])
                switch (answer.status, answer.code) {
                case (200, _):
                    return try await accept(answer.body, sentAt)
                case (401, let code) where Self.ends.contains(code):
                    try await store.set(nil)
                    throw LatchkeyError.signedOut(code: code)
                case (_, "invalid_request") where wasSent:
                    entry.key = nil // used up by an answer that did arrive: the session lives
                case (429, _), (500..., _), (_, "duplicate_request"):
                    if attempt == Self.tries { throw LatchkeyError.problem(status: answer.status, code: answer.code) }
                default:
                    throw LatchkeyError.problem(status: answer.status, code: answer.code)
                }
            } catch let fault as URLError {
                if attempt == Self.tries { throw fault }
            }
            wasSent = entry.key != nil
            try await Task.sleep(for: .milliseconds(250 << attempt))
        }
        throw LatchkeyError.problem(status: 0, code: "network")
    }

    /// The new tokens are stored and the key is cleared in one step.
    private func accept(_ body: Data, _ sentAt: ContinuousClock.Instant) async throws -> Entry {
        let token = try JSONDecoder().decode(SessionResponse.self, from: body).token
        let entry = Entry(access: token.access, refresh: token.refresh, key: nil)
        try await save(entry)
        refreshAt = sentAt + .seconds(token.expires_in * 3 / 4)
        return entry
    }

    private func current() async throws -> Entry {
        guard let entry = try await load() else { throw LatchkeyError.signedOut(code: "token_missing") }
        return entry
    }

    private func load() async throws -> Entry? {
        try await store.get().map { try JSONDecoder().decode(Entry.self, from: $0) }
    }

    private func save(_ entry: Entry) async throws { try await store.set(JSONEncoder().encode(entry)) }

    private func send(_ method: String, _ path: String, _ headers: [String: String], _ body: [String: String]?) async throws -> Answer {
        var request = URLRequest(url: api.appending(path: path))
        request.httpMethod = method
        headers.forEach { request.setValue($1, forHTTPHeaderField: $0) }
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

/// A member of a JSON object that may be anything.
private struct AnyJSON: Decodable {
    let text: String?

    init(from decoder: Decoder) throws { text = try? decoder.singleValueContainer().decode(String.self) }
}
