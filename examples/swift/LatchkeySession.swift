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

    var code: String {
        switch self {
        case .signedOut(let code), .problem(_, let code): code
        }
    }
}

/// The session of this app: one instance for each process, and one process, as its lock ends there.
actor LatchkeySession {
    private struct Entry: Codable, Sendable {
        var access: String
        var refresh: String
        /// The `Idempotency-Key` of a refresh that is not answered yet.
        var key: String?
        /// That of a `/reauthenticate`, which may have replaced the session, and that of a `/password/change`.
        var proof: String?
        var change: String?
        /// What this device is known by to its people's accounts. It outlives sessions, and then the tokens are empty.
        var device: String?
    }

    /// What brings new tokens.
    private enum Route: String {
        case refresh = "/refresh"
        case reauthenticate = "/reauthenticate"
        case changePassword = "/password/change"

        /// Where its key is stored while it is not answered.
        var pending: WritableKeyPath<Entry, String?> {
            switch self {
            case .refresh: \.key
            case .reauthenticate: \.proof
            case .changePassword: \.change
            }
        }
    }

    /// The session has ended; but that route may have replaced it, and its answer was lost.
    private struct Unanswered: Error {
        let route: Route
        let code: String
    }

    private struct SessionResponse: Decodable {
        struct Token: Decodable {
            let expires_in: Double
            let access: String
            let refresh: String
        }

        let token: Token
        let device: String?
    }

    private struct SignupResponse: Decodable { let signup_id: String }
    private struct ForgotResponse: Decodable { let reset_id: String }
    private struct ResetResponse: Decodable { let device: String? }
    private struct ChangeResponse: Decodable { let change_id: String }

    /// What a refused refresh says of the session. Nothing else ends one.
    private static let ends: Set<String> = [
        "token_missing", "token_invalid", "token_expired", "session_ended", "token_reused",
    ]
    private static let tries = 3

    private let api: String
    private let store: any TokenStore
    private let askPassword: @Sendable (LatchkeyError?) async -> String?
    private let network: URLSession
    private let clock = ContinuousClock() // goes on in sleep, and nobody sets it
    /// When the token is to be refreshed, and when it ends. `nil`: its answer came to another process.
    private var refreshAt: ContinuousClock.Instant?
    private var expiresAt: ContinuousClock.Instant?
    private var last: Task<Void, Never>?
    /// The person is being asked for the password, and how often that was right.
    private var asking: Task<Bool, any Error>?
    private var proofs = 0

    /// `api` without a slash at its end: `https://api.example.com`. `askPassword` brings the password, where a request takes
    /// a recent proof of who is there, or `nil` to let it be. After a wrong one it is called again, with the
    /// `wrong_password` that came. It is called, too, when the session has ended and an answer was lost that may have
    /// replaced it: the password brings that again.
    init(
        api: String,
        store: any TokenStore = KeychainStore(),
        askPassword: @escaping @Sendable (LatchkeyError?) async -> String? = { _ in nil }
    ) {
        self.api = api
        self.store = store
        self.askPassword = askPassword
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
        try await signIn("/login", ["username": username, "password": password].merging(try await device()) { $1 })
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
        let before = proofs
        var answer = try await send(method, path, bearer(entry), body)
        if try await isStale(answer, entry) {
            answer = try await send(method, path, bearer(try await refresh(from: entry)), body)
        }
        guard answer.status == 403, answer.code == "reauthentication_required",
            try await prove(.reauthenticate, since: before)
        else { return answer }
        return try await send(method, path, bearer(try await current()), body)
    }

    /// Gives the password again, for what wants that to be recent. The session is replaced by a new one.
    func reauthenticate(password: String) async throws {
        try await exclusive { try await self.replace(.reauthenticate, ["password": password]) }
    }

    /// All the user's other sessions end, and this one is replaced by a new one.
    func changePassword(_ password: String, to newPassword: String) async throws {
        let body = ["password": password, "new_password": newPassword]
        try await exclusive { try await self.replace(.changePassword, body) }
    }

    /// `name` is a user name or an address. Brings the `reset_id`: keep it for the code.
    func forgotPassword(_ name: String) async throws -> String {
        let body = [name.contains("@") ? "email" : "username": name, "client": "app"].merging(try await device()) { $1 }
        return try JSONDecoder().decode(ForgotResponse.self, from: try await call("/password/forgot", body).body).reset_id
    }

    /// Nobody is signed in afterwards.
    func resetPassword(_ password: String, resetId: String, code: String) async throws {
        try await exclusive { try await self.reset(["reset_id": resetId, "code": code, "password": password]) }
    }

    /// `token` is the one in the link that the app was opened with.
    func resetPassword(_ password: String, token: String) async throws {
        try await exclusive { try await self.reset(["token": token, "password": password]) }
    }

    /// Has the other address mailed. Brings the `change_id`: keep it for the code.
    func changeEmail(to email: String) async throws -> String {
        let answer = try await own("POST", "/email/change", ["email": email])
        return try JSONDecoder().decode(ChangeResponse.self, from: answer.body).change_id
    }

    func confirmEmail(changeId: String, code: String) async throws {
        _ = try await own("POST", "/email/confirm", ["change_id": changeId, "code": code])
    }

    func confirmEmail(token: String) async throws {
        _ = try await own("POST", "/email/confirm", ["token": token])
    }

    /// Changes the user's name, the language of their mails, or both.
    func updateMe(username: String? = nil, locale: String? = nil) async throws {
        let changes = ["username": username, "locale": locale].compactMapValues { $0 }
        _ = try await own("PATCH", "/me", changes)
    }

    /// Everything that is held about the user, as JSON.
    func exportMe() async throws -> Data {
        try await own("GET", "/me/export").body
    }

    /// Deletes the account. Nobody is signed in afterwards.
    func deleteAccount() async throws {
        _ = try await own("DELETE", "/me")
        try await exclusive { try await self.forget() }
    }

    /// Asks for the password until it is the right one, unless it was given since then. `false`: it was not given.
    private func prove(_ route: Route, since before: Int) async throws -> Bool {
        if proofs != before { return true }
        // Whoever comes meanwhile waits for the same answer.
        if let asking { return try await asking.value }
        let task = Task { try await self.ask(route) }
        asking = task
        defer { asking = nil }
        return try await task.value
    }

    private func ask(_ route: Route) async throws -> Bool {
        var problem: LatchkeyError?
        while true {
            guard let password = await askPassword(problem) else { return false }
            do {
                // A change that has happened is answered again to whoever knows the new password.
                if route == .changePassword {
                    try await changePassword(password, to: password)
                } else {
                    try await reauthenticate(password: password)
                }
                return true
            } catch let wrong as LatchkeyError where wrong.code == "wrong_password" {
                problem = wrong
            }
        }
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
        let before = proofs
        do {
            return try await exclusive { try await self.rotate(from: seen) }
        } catch let lost as Unanswered {
            if try await prove(lost.route, since: before) { return try await current() }
            try await exclusive { try await self.forget() }
            throw LatchkeyError.signedOut(code: lost.code)
        }
    }

    private func signIn(_ path: String, _ body: [String: String]) async throws {
        try await exclusive { try await self.startSession(path, body) }
    }

    // MARK: With the lock held

    private func rotate(from seen: Entry) async throws -> Entry {
        let entry = try await current()
        if entry.refresh != seen.refresh { return entry }
        do {
            return try await exchange(.refresh, ["refresh": entry.refresh])
        } catch LatchkeyError.problem(401, let code) where Self.ends.contains(code) {
            // A session that was replaced is gone, too. If that answer was lost, it can be had again.
            let latest = try await current()
            if latest.change != nil { throw Unanswered(route: .changePassword, code: code) }
            if latest.proof != nil { throw Unanswered(route: .reauthenticate, code: code) }
            try await forget()
            throw LatchkeyError.signedOut(code: code)
        }
    }

    /// Replaces the session by a new one, for whoever gives the password; refreshes before, if it takes that.
    private func replace(_ route: Route, _ body: [String: String]) async throws {
        do {
            _ = try await exchange(route, body)
        } catch LatchkeyError.problem(401, let code) where Self.ends.contains(code) {
            _ = try await rotate(from: try await current())
            _ = try await exchange(route, body)
        }
        proofs += 1
    }

    /// Sends what brings new tokens, until it is answered.
    private func exchange(_ route: Route, _ body: [String: String]) async throws -> Entry {
        let isRefresh = route == .refresh
        for attempt in 1...Self.tries {
            var entry = try await current()
            // A key in the store may have been sent, by an earlier attempt or by a process that died.
            let wasSent = entry[keyPath: route.pending] != nil
            let key = entry[keyPath: route.pending] ?? Self.freshKey()
            if !wasSent {
                // Stored before it is sent, with the token that it belongs to.
                entry[keyPath: route.pending] = key
                try await save(entry)
            }
            let headers = (isRefresh ? [:] : bearer(entry)).merging(["idempotency-key": key]) { $1 }
            let sentAt = clock.now
            var answer: Answer?
            do {
                answer = try await send("POST", route.rawValue, headers, body)
            } catch let fault as URLError {
                if attempt == Self.tries { throw fault }
            }
            if let answer {
                let (status, code) = (answer.status, answer.code)
                // What may have replaced the session is kept through a refresh of it.
                if status == 200 { return try await accept(answer, sentAt, of: isRefresh ? entry : nil) }
                let isTransient = status == 429 || status >= 500 || code == "duplicate_request"
                // By an answer that did arrive: the session lives, and takes a fresh key.
                let isUsedUp = isRefresh && wasSent && code == "invalid_request"
                // It has done nothing. Of a key that was sent before, another password does not say so.
                let isVoid = !isRefresh && !isTransient && !(wasSent && code == "wrong_password")
                if isUsedUp || isVoid {
                    entry[keyPath: route.pending] = nil
                    try await save(entry)
                }
                if attempt == Self.tries || !(isUsedUp || isTransient) {
                    throw LatchkeyError.problem(status: status, code: code)
                }
                if isUsedUp { continue }
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

    private func reset(_ body: [String: String]) async throws {
        let answer = try await call("/password/reset", body.merging(["client": "app"]) { $1 })
        guard let device = (try? JSONDecoder().decode(ResetResponse.self, from: answer.body))?.device else { return }
        // Whoever reads the account's mail is no stranger to it.
        let before = try await stored()
        var entry = before ?? Entry(access: "", refresh: "")
        entry.device = device
        try await save(entry)
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

    /// The new tokens are stored and the key is cleared in one step. `same` is of that session before.
    private func accept(
        _ answer: Answer, _ sentAt: ContinuousClock.Instant, of same: Entry? = nil
    ) async throws -> Entry {
        let response = try JSONDecoder().decode(SessionResponse.self, from: answer.body)
        let token = response.token
        var entry = Entry(access: token.access, refresh: token.refresh, proof: same?.proof, change: same?.change)
        let before = try await stored()
        entry.device = response.device ?? before?.device
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

    private func load() async throws -> Entry? {
        guard let entry = try await stored(), !entry.refresh.isEmpty else { return nil }
        return entry
    }

    private func device() async throws -> [String: String] {
        guard let device = try await stored()?.device else { return [:] }
        return ["device": device]
    }

    /// What cannot be read is as good as lost. What the store throws is passed on, and signs nobody out.
    private func stored() async throws -> Entry? {
        guard let data = try await store.get() else { return nil }
        return try? JSONDecoder().decode(Entry.self, from: data)
    }

    private func save(_ entry: Entry) async throws {
        try await store.set(try JSONEncoder().encode(entry))
    }

    private func forget() async throws {
        let device = try await stored()?.device
        if let device {
            try await save(Entry(access: "", refresh: "", device: device))
        } else {
            try await store.set(nil)
        }
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

    /// A request of who is signed in, that has to succeed.
    private func own(_ method: String, _ path: String, _ body: [String: String]? = nil) async throws -> Answer {
        let answer = try await request(method, path, body: body)
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
