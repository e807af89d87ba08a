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

open class Problem(val status: Int, val code: String) : Exception("$status $code")

/** Nobody is signed in any more, and why: `token_reused` means that somebody has a copy of the tokens. */
class SignedOut(val code: String) : Exception(code)

/**
 * The session of this app. One instance for each process, and one process: the lock ends there.
 *
 * [now] is milliseconds on a clock that nobody sets and that goes on in sleep: `SystemClock::elapsedRealtime` on Android.
 * [askPassword] brings the password, where a request takes a recent proof of who is there, or `null` to let it be. After a
 * wrong one it is called again, with the `wrong_password` that came. It is called, too, when the session has ended and an
 * answer was lost that may have replaced it: the password brings that again.
 */
class LatchkeySession(
    private val store: TokenStore,
    private val transport: Transport,
    private val now: () -> Long,
    private val askPassword: suspend (Problem?) -> String? = { null },
) {
    private val lock = Mutex()

    /** Held while the person is asked for the password, and how often that was right. */
    private val asking = Mutex()
    private var proofs = 0

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
        signIn("/login", JSONObject().put("username", username).put("password", password).putOpt("device", device()))

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
        val before = proofs
        var answer = send(method, path, entry, body)
        if (isStale(answer, entry)) answer = send(method, path, refresh(entry), body)
        val wantsProof = answer.status == 403 && answer.code == "reauthentication_required"
        return if (wantsProof && prove(REAUTHENTICATE, before)) send(method, path, current(), body) else answer
    }

    /** Gives the password again, for what wants that to be recent. The session is replaced by a new one. */
    suspend fun reauthenticate(password: String) =
        replace(REAUTHENTICATE, JSONObject().put("password", password))

    /** All the user's other sessions end, and this one is replaced by a new one. */
    suspend fun changePassword(password: String, newPassword: String) =
        replace(CHANGE, JSONObject().put("password", password).put("new_password", newPassword))

    /** [name] is a user name or an address. Brings the `reset_id`: keep it for the code. */
    suspend fun forgotPassword(name: String): String {
        val body = JSONObject().put(if ('@' in name) "email" else "username", name).put("client", "app")
        body.putOpt("device", device())
        return call("/password/forgot", body).getString("reset_id")
    }

    /** [proof] is `reset_id` and `code`, as typed, or `token`, from the link. Nobody is signed in afterwards. */
    suspend fun resetPassword(proof: Map<String, String>, password: String): Unit = lock.withLock {
        val answer = call("/password/reset", JSONObject(proof).put("password", password).put("client", "app"))
        // Whoever reads the account's mail is no stranger to it.
        if (answer.has("device")) store.set((stored() ?: JSONObject()).put("device", answer.get("device")).toString())
    }

    /** Has the other address mailed. Brings the `change_id`: keep it for the code. */
    suspend fun changeEmail(email: String): String =
        own("POST", "/email/change", JSONObject().put("email", email)).getString("change_id")

    /** [proof] is `change_id` and `code`, as typed, or `token`, from the link. */
    suspend fun confirmEmail(proof: Map<String, String>) = own("POST", "/email/confirm", JSONObject(proof)).let { }

    /** Changes the user's name, the language of their mails, or both. */
    suspend fun updateMe(username: String? = null, locale: String? = null): JSONObject =
        own("PATCH", "/me", JSONObject().putOpt("username", username).putOpt("locale", locale))

    /** Everything that is held about the user. */
    suspend fun exportMe(): JSONObject = own("GET", "/me/export")

    /** Deletes the account. Nobody is signed in afterwards. */
    suspend fun deleteAccount() {
        own("DELETE", "/me")
        lock.withLock { forget() }
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
    private suspend fun refresh(seen: JSONObject): JSONObject {
        val before = proofs
        try {
            return lock.withLock { rotate(seen) }
        } catch (lost: Unanswered) {
            if (prove(lost.path, before)) return current()
            lock.withLock { forget() }
            throw SignedOut(lost.code)
        }
    }

    /** The same, with the lock held. */
    private suspend fun rotate(seen: JSONObject): JSONObject {
        val entry = current()
        if (entry.getString("refresh") != seen.getString("refresh")) return entry
        try {
            return exchange("/refresh", JSONObject().put("refresh", entry.getString("refresh")))
        } catch (problem: Problem) {
            if (!problem.isOfToken) throw problem
            // A session that was replaced is gone, too. If that answer was lost, it can be had again.
            val unanswered = listOf(CHANGE, REAUTHENTICATE).find { current().has(PENDING.getValue(it)) }
            if (unanswered != null) throw Unanswered(unanswered, problem.code)
            forget()
            throw SignedOut(problem.code)
        }
    }

    /** Replaces the session by a new one, for whoever gives the password; refreshes before, if it takes that. */
    private suspend fun replace(path: String, body: JSONObject): Unit = lock.withLock {
        try {
            exchange(path, body)
        } catch (problem: Problem) {
            if (!problem.isOfToken) throw problem
            rotate(current())
            exchange(path, body)
        }
        proofs++
    }

    /** Asks for the password until it is the right one, unless it was given since [before]. `false`: it was not given. */
    private suspend fun prove(path: String, before: Int): Boolean = asking.withLock {
        if (proofs != before) return true
        var problem: Problem? = null
        while (true) {
            val password = askPassword(problem) ?: return false
            try {
                // A change that has happened is answered again to whoever knows the new password.
                if (path == CHANGE) changePassword(password, password) else reauthenticate(password)
                return true
            } catch (wrong: Problem) {
                if (wrong.code != "wrong_password") throw wrong
                problem = wrong
            }
        }
        error("the loop returns or throws")
    }

    /** Sends what brings new tokens, with the lock held, until it is answered. */
    private suspend fun exchange(path: String, body: JSONObject): JSONObject {
        val pending = PENDING.getValue(path)
        val isRefresh = path == "/refresh"
        for (attempt in 1..TRIES) {
            val entry = current()
            // A key in the store may have been sent, by an earlier attempt or by a process that died.
            val wasSent = entry.has(pending)
            // Stored before it is sent, with the token that it belongs to.
            if (!wasSent) store.set(entry.put(pending, freshKey()).toString())
            val sentAt = now()
            val headers = mapOf("idempotency-key" to entry.getString(pending)) + if (isRefresh) emptyMap() else bearer(entry)
            val answer = try {
                transport.send("POST", path, headers, body)
            } catch (fault: IOException) {
                if (attempt == TRIES) throw fault
                null
            }
            // What may have replaced the session is kept through a refresh of it.
            if (answer?.status == 200) return accept(answer.body, sentAt, if (isRefresh) entry else JSONObject())
            val isTransient = answer == null || answer.status == 429 || answer.status >= 500 || answer.code == "duplicate_request"
            // The key was used up by an answer that did arrive: the session lives, and takes a fresh one.
            val isUsedUp = isRefresh && wasSent && answer?.code == "invalid_request"
            // It has done nothing. Of one that was sent before, another password does not say so.
            val isVoid = !isRefresh && !isTransient && !(wasSent && answer?.code == "wrong_password")
            if (isUsedUp || isVoid) store.set(entry.apply { remove(pending) }.toString())
            if (attempt == TRIES || !isTransient && !isUsedUp) throw Problem(answer!!.status, answer.code)
            if (!isUsedUp) delay(250L shl attempt)
        }
        error("the last attempt returns or throws")
    }

    private suspend fun signIn(path: String, body: JSONObject) = lock.withLock {
        val sentAt = now()
        // The server ends the session that the request came with, so that no second one stays behind.
        val before = load()?.let(::bearer)
        accept(call(path, body.put("client", "app"), before.orEmpty()), sentAt).let { }
    }

    /** Whether another access token may bring another answer. */
    private suspend fun isStale(answer: Answer, entry: JSONObject) = when {
        answer.status != 401 && answer.status != 403 -> false
        answer.code.isNotEmpty() -> answer.status == 401 && answer.code in ENDS
        // API Gateway's authorizer says no more than that. /me knows whether it is the token.
        else -> send("GET", "/me", entry, null).status == 401
    }

    /** The new tokens are stored and the key is cleared in one step. [before] is of the same session, or empty. */
    private suspend fun accept(answer: JSONObject, sentAt: Long, before: JSONObject = JSONObject()): JSONObject {
        val token = answer.getJSONObject("token")
        val entry = JSONObject().put("access", token.getString("access")).put("refresh", token.getString("refresh"))
        entry.putOpt("device", answer.opt("device") ?: device())
        for (pending in listOf(REAUTHENTICATE, CHANGE).map(PENDING::getValue)) entry.putOpt(pending, before.opt(pending))
        store.set(entry.toString())
        val life = token.getLong("expires_in") * 1000
        refreshAt = sentAt + life * 3 / 4
        expiresAt = sentAt + life
        return entry
    }

    private suspend fun current() = load() ?: throw SignedOut("token_missing")

    private suspend fun load() = stored()?.takeIf { it.has("refresh") }

    /** What cannot be read is as good as lost. */
    private suspend fun stored() = store.get()?.let { runCatching { JSONObject(it) }.getOrNull() }

    /** What this device is known by to its people's accounts. It outlives sessions. */
    private suspend fun device() = stored()?.opt("device")

    private suspend fun forget() {
        store.set(device()?.let { JSONObject().put("device", it).toString() })
        refreshAt = null
        expiresAt = null
    }

    private fun isPast(time: Long?) = time != null && now() >= time

    private suspend fun send(method: String, path: String, entry: JSONObject, body: JSONObject?) =
        transport.send(method, path, bearer(entry), body)

    private fun bearer(entry: JSONObject) = mapOf("authorization" to "Bearer ${entry.getString("access")}")

    /** A request of who is signed in, that has to succeed. */
    private suspend fun own(method: String, path: String, body: JSONObject? = null): JSONObject {
        val answer = request(method, path, body)
        if (answer.status !in 200..299) throw Problem(answer.status, answer.code)
        return answer.body
    }

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
        val Problem.isOfToken get() = status == 401 && code in ENDS

        const val REAUTHENTICATE = "/reauthenticate"
        const val CHANGE = "/password/change"

        /** Where the key of each is stored that is not answered yet. */
        val PENDING = mapOf("/refresh" to "key", REAUTHENTICATE to "proof", CHANGE to "change")

        /** The session has ended; but [path] may have replaced it, and its answer was lost. */
        class Unanswered(val path: String, code: String) : Problem(401, code)

        fun freshKey(): String = ByteArray(16).also(SecureRandom()::nextBytes).let(Base64.getUrlEncoder()::encodeToString)
    }
}
