package latchkey

import java.io.IOException
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

/** One exchange; throws [IOException] when no answer came within 10 seconds. On Android: OkHttp, say. */
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

    /** When the token is to be refreshed, and when it ends. `null`: its answer came to another process. */
    private var refreshAt: Long? = null
    private var expiresAt: Long? = null

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
        if (isPast(refreshAt)) {
            entry = try {
                refresh(entry)
            } catch (fault: Exception) {
                if (fault !is IOException && fault !is Problem || isPast(expiresAt)) throw fault
                // The token is still good: the request goes out, and the next refresh can wait.
                refreshAt = now() + PAUSE
                entry
            }
        }
        val answer = send(method, path, entry, body)
        return if (isStale(answer, entry)) send(method, path, refresh(entry), body) else answer
    }

    /** Ends the session. Throws, and nobody is signed out, if the server did not hear of it. */
    suspend fun logOut() = lock.withLock {
        val entry = load() ?: return@withLock
        val answer = transport.send("POST", "/logout", emptyMap(), JSONObject().put("refresh", entry.getString("refresh")))
        // 401: the server knows no such token.
        if (answer.status !in 200..299 && answer.status != 401) throw Problem(answer.status, answer.code)
        forget()
    }

    suspend fun refresh() = refresh(current()).let { }

    /** Refreshes from [seen], unless somebody has done so meanwhile. */
    private suspend fun refresh(seen: JSONObject): JSONObject = lock.withLock {
        for (attempt in 1..TRIES) {
            val entry = load() ?: throw SignedOut("token_missing")
            if (entry.getString("refresh") != seen.getString("refresh")) return entry
            // A key in the store may have been sent, by an earlier attempt or by a process that died.
            val wasSent = entry.has("key")
            if (!wasSent) {
                // Stored before it is sent, with the token that it belongs to.
                store.set(entry.put("key", freshKey()).toString())
            }
            val sentAt = now()
            val refresh = JSONObject().put("refresh", entry.getString("refresh"))
            val answer = try {
                transport.send("POST", "/refresh", mapOf("idempotency-key" to entry.getString("key")), refresh)
            } catch (fault: IOException) {
                if (attempt == TRIES) throw fault
                null
            }
            when {
                answer == null -> {}
                answer.status == 200 -> return accept(answer.body, sentAt)
                answer.status == 401 && answer.code in ENDS -> {
                    forget()
                    throw SignedOut(answer.code)
                }
                attempt == TRIES -> throw Problem(answer.status, answer.code)
                // The key was used up by an answer that did arrive: the session lives, and takes a fresh one.
                answer.code == "invalid_request" && wasSent -> {
                    entry.remove("key")
                    store.set(entry.toString())
                    continue
                }
                answer.status == 429 || answer.status >= 500 || answer.code == "duplicate_request" -> {}
                else -> throw Problem(answer.status, answer.code)
            }
            delay(250L shl attempt)
        }
        error("the last attempt returns or throws")
    }

    private suspend fun signIn(path: String, body: JSONObject) = lock.withLock {
        val sentAt = now()
        // The server ends the session that the request came with, so that no second one stays behind.
        val before = load()?.let { mapOf("authorization" to "Bearer ${it.getString("access")}") }
        accept(call(path, body.put("client", "app"), before.orEmpty()), sentAt).let { }
    }

    /** Whether another access token may bring another answer. */
    private suspend fun isStale(answer: Answer, entry: JSONObject) = when {
        answer.status != 401 && answer.status != 403 -> false
        answer.code.isNotEmpty() -> answer.status == 401 && answer.code in ENDS
        // API Gateway's authorizer says no more than that. /me knows whether it is the token.
        else -> send("GET", "/me", entry, null).status == 401
    }

    /** The new tokens are stored and the key is cleared in one step. */
    private suspend fun accept(answer: JSONObject, sentAt: Long): JSONObject {
        val token = answer.getJSONObject("token")
        val entry = JSONObject().put("access", token.getString("access")).put("refresh", token.getString("refresh"))
        store.set(entry.toString())
        val life = token.getLong("expires_in") * 1000
        refreshAt = sentAt + life * 3 / 4
        expiresAt = sentAt + life
        return entry
    }

    private suspend fun current() = load() ?: throw SignedOut("token_missing")

    /** What cannot be read is as good as lost. */
    private suspend fun load() = store.get()?.let { runCatching { JSONObject(it) }.getOrNull() }

    private suspend fun forget() {
        store.set(null)
        refreshAt = null
        expiresAt = null
    }

    private fun isPast(time: Long?) = time != null && now() >= time

    private suspend fun send(method: String, path: String, entry: JSONObject, body: JSONObject?) =
        transport.send(method, path, mapOf("authorization" to "Bearer ${entry.getString("access")}"), body)

    private suspend fun call(path: String, body: JSONObject, headers: Map<String, String> = emptyMap()): JSONObject {
        val answer = transport.send("POST", path, headers, body)
        if (answer.status !in 200..299) throw Problem(answer.status, answer.code)
        return answer.body
    }

    private companion object {
        const val TRIES = 3

        /** Milliseconds until the next try to refresh a token that is still good. */
        const val PAUSE = 30_000L

        /** What a refused refresh says of the session. Nothing else ends one. */
        val ENDS = setOf("token_missing", "token_invalid", "token_expired", "session_ended", "token_reused")

        fun freshKey(): String = ByteArray(16).also(SecureRandom()::nextBytes).let(Base64.getUrlEncoder()::encodeToString)
    }
}
