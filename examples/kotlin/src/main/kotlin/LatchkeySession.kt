package latchkey

import java.security.SecureRandom
import java.util.Base64
import kotlinx.coroutines.delay
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.json.JSONObject

/** One text, replaced whole or not at all, and durable when [set] returns. On Android: DataStore, encrypted by a Keystore key. */
interface TokenStore {
    suspend fun get(): String?

    suspend fun set(text: String?)
}

/** One exchange; throws [java.io.IOException] when no answer came within 10 seconds. On Android: OkHttp, say. */
fun interface Transport {
    suspend fun send(method: String, path: String, headers: Map<String, String>, body: JSONObject?): Answer
}

class Answer(val status: Int, val body: JSONObject) {
    val code: String get() = body.optString("code")
}

class Problem(val status: Int, val code: String) : Exception("$status $code")

/** Nobody is signed in any more, and why: `token_reused` means that somebody has a copy of the tokens. */
class SignedOut(val code: String) : Exception(code)

/**
 * The session of this app. One instance for each process, and one process: the lock ends there.
 *
 * [now] is milliseconds on a clock that nobody sets and that goes on in sleep: `SystemClock::elapsedRealtime` on Android.
 */
class LatchkeySession(
    private val store: TokenStore,
    private val transport: Transport,
    private val now: () -> Long,
) {
    private val lock = Mutex()
    private var refreshAt: Long? = null

    suspend fun signUp(username: String, email: String, password: String): String {
        val body = JSONObject().put("username", username).put("email", email).put("password", password)
        return call("/signup", body.put("client", "app")).getString("signup_id")
    }

    /** [proof] is `code`, as typed, or `token`, from the link. */
    suspend fun verify(signupId: String, proof: Pair<String, String>) =
        signIn("/verify", JSONObject().put("signup_id", signupId).put(proof.first, proof.second))

    suspend fun logIn(username: String, password: String) =
        signIn("/login", JSONObject().put("username", username).put("password", password))

    /** Calls a route with a good access token; refreshes ahead of its end, or once if it was refused. */
    suspend fun request(method: String, path: String, body: JSONObject? = null): Answer {
        var entry = current()
        if (refreshAt.let { it != null && now() >= it }) entry = refresh(entry)
        val answer = send(method, path, entry, body)
        // API Gateway's authorizer refuses by a bare 403.
        val mayBeStale = answer.status == 401 || (answer.status == 403 && answer.code.isEmpty())
        return if (mayBeStale) send(method, path, refresh(entry), body) else answer
    }

    suspend fun logOut() = lock.withLock {
        val entry = load() ?: return@withLock
        call("/logout", JSONObject().put("refresh", entry.getString("refresh")))
        store.set(null)
    }

    suspend fun refresh() = refresh(current()).let { }

    /** Refreshes from [seen], unless somebody has done so meanwhile. */
    private suspend fun refresh(seen: JSONObject): JSONObject = lock.withLock {
        var entry = load() ?: throw SignedOut("token_missing")
        if (entry.getString("refresh") != seen.getString("refresh")) return entry
        // A key in the store may have been sent by a process that died before it could store the answer.
        var wasSent = entry.has("key")
        for (attempt in 1..TRIES) {
            if (!entry.has("key")) {
                // Stored before it is sent, with the token that it belongs to.
                entry = copy(entry).put("key", freshKey())
                store.set(entry.toString())
            }
            val sentAt = now()
            val refresh = JSONObject().put("refresh", entry.getString("refresh"))
            val answer = try {
                transport.send("POST", "/refresh", mapOf("idempotency-key" to entry.getString("key")), refresh)
            } catch (fault: java.io.IOException) {
                if (attempt == TRIES) throw fault else null
            }
            when {
                answer == null -> {}
                answer.status == 200 -> return accept(answer.body, sentAt)
                answer.status == 401 && answer.code in ENDS -> {
                    store.set(null)
                    throw SignedOut(answer.code)
                }
                // The key was used up by an answer that did arrive: the session lives.
                answer.code == "invalid_request" && wasSent -> entry = copy(entry).apply { remove("key") }
                answer.status == 429 || answer.status >= 500 || answer.code == "duplicate_request" ->
                    if (attempt == TRIES) throw Problem(answer.status, answer.code)
                else -> throw Problem(answer.status, answer.code)
            }
            wasSent = entry.has("key")
            delay(250L shl attempt)
        }
        throw Problem(0, "network")
    }

    private suspend fun signIn(path: String, body: JSONObject) = lock.withLock {
        val sentAt = now()
        accept(call(path, body.put("client", "app")), sentAt).let { }
    }

    /** The new tokens are stored and the key is cleared in one step. */
    private suspend fun accept(answer: JSONObject, sentAt: Long): JSONObject {
        val token = answer.getJSONObject("token")
        val entry = JSONObject().put("access", token.getString("access")).put("refresh", token.getString("refresh"))
        store.set(entry.toString())
        refreshAt = sentAt + token.getLong("expires_in") * 1000 * 3 / 4
        return entry
    }

    private suspend fun current() = load() ?: throw SignedOut("token_missing")

    private suspend fun load() = store.get()?.let(::JSONObject)

    private suspend fun send(method: String, path: String, entry: JSONObject, body: JSONObject?) =
        transport.send(method, path, mapOf("authorization" to "Bearer ${entry.getString("access")}"), body)

    private suspend fun call(path: String, body: JSONObject): JSONObject {
        val answer = transport.send("POST", path, emptyMap(), body)
        if (answer.status !in 200..299) throw Problem(answer.status, answer.code)
        return answer.body
    }

    private companion object {
        const val TRIES = 3

        /** What a refused refresh says of the session. Nothing else ends one. */
        val ENDS = setOf("token_missing", "token_invalid", "token_expired", "session_ended", "token_reused")

        fun copy(entry: JSONObject) = JSONObject(entry.toString())

        fun freshKey(): String = ByteArray(16).also(SecureRandom()::nextBytes).let(Base64.getUrlEncoder()::encodeToString)
    }
}
