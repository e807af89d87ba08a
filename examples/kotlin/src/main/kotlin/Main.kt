package latchkey

import java.io.IOException
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardOpenOption.WRITE
import java.time.Duration
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.json.JSONArray
import org.json.JSONObject

/** A file that is replaced in one step. It is not encrypted: an example for this machine, not for a phone. */
private class FileStore(private val file: Path) : TokenStore {
    override suspend fun get() = withContext(Dispatchers.IO) { if (Files.exists(file)) Files.readString(file) else null }

    override suspend fun set(text: String?): Unit = withContext(Dispatchers.IO) {
        if (text == null) {
            Files.deleteIfExists(file)
        } else {
            val next = file.resolveSibling("${file.fileName}.next")
            Files.writeString(next, text)
            FileChannel.open(next, WRITE).use { it.force(true) }
            Files.move(next, file, ATOMIC_MOVE)
        }
    }
}

private class Http(private val api: String) : Transport {
    private val client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build()

    /** The refreshes that the server has answered: their keys and its statuses. */
    val refreshes = mutableListOf<Pair<String, Int>>()

    /** The same of what replaces the session. */
    val replacements = mutableListOf<Pair<String, Int>>()

    /** How many answers to these are lost. */
    var loses = 0

    /** How many requests of `/me/export` are answered as if the password had been given long ago. */
    var wantsProof = 0

    /** How many requests of `/me` are refused, as a token that is a generation behind would be. */
    var refuses = 0

    override suspend fun send(method: String, path: String, headers: Map<String, String>, body: JSONObject?): Answer =
        withContext(Dispatchers.IO) {
            if (path == "/me" && refuses > 0) {
                refuses--
                return@withContext Answer(401, JSONObject().put("code", "token_expired"))
            }
            if (path == "/me/export" && wantsProof > 0) {
                wantsProof--
                return@withContext Answer(403, JSONObject().put("code", "reauthentication_required"))
            }
            val content = body?.let { HttpRequest.BodyPublishers.ofString(it.toString()) }
            val request = HttpRequest.newBuilder(URI(api + path)).timeout(Duration.ofSeconds(10))
                .method(method, content ?: HttpRequest.BodyPublishers.noBody())
            if (body != null) request.header("content-type", "application/json")
            headers.forEach(request::header)
            val answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString())
            headers["idempotency-key"]?.let { key ->
                (if (path == "/refresh") refreshes else replacements) += key to answer.statusCode()
                if (loses > 0) {
                    loses--
                    throw IOException("the answer was lost, on purpose")
                }
            }
            Answer(answer.statusCode(), if (answer.body().startsWith("{")) JSONObject(answer.body()) else JSONObject())
        }

    /** What the newest mail says. */
    fun lastMail(): String {
        val request = HttpRequest.newBuilder(URI("$api/_local/mail.json")).build()
        val mails = JSONArray(client.send(request, HttpResponse.BodyHandlers.ofString()).body())
        return mails.getJSONObject(mails.length() - 1).getString("text")
    }
}

private const val PASSWORD = "correct horse battery"

/** The flows of docs/mobile.md against a local stack, whose URL is the argument. */
fun main(arguments: Array<String>) = runBlocking {
    val http = Http(arguments[0])
    var skipped = 0L
    val now = { System.nanoTime() / 1_000_000 + skipped }
    val file = Files.createTempDirectory("latchkey").resolve("session.json")
    val store = FileStore(file)
    val session = LatchkeySession(store, http, now)
    fun said(what: String) = println("ok  $what")
    suspend fun isSignedIn() = store.get()?.contains("refresh") == true
    suspend fun LatchkeySession.who() = request("GET", "/me").body.getJSONObject("user").getString("username")
    /** The keys and statuses of the refreshes that this takes. */
    suspend fun refreshesOf(what: suspend () -> Unit) = http.refreshes.size.let { before -> what(); http.refreshes.drop(before) }

    val name = "kim" + System.nanoTime() % 1_000_000
    val signupId = session.signUp(name, "$name@example.com", PASSWORD)
    val code = Regex("(?m)^[0-9]{8}$").find(http.lastMail())!!.value
    session.verify(signupId, "code" to code)
    check(session.who() == name)
    said("signed up, and verified with the code")

    val linked = LatchkeySession(FileStore(file.resolveSibling("linked.json")), http, now)
    val linkedId = linked.signUp("${name}b", "${name}b@example.com", PASSWORD)
    linked.verify(linkedId, "token" to Regex("token=(\\S+)").find(http.lastMail())!!.groupValues[1])
    check(linked.who() == "${name}b")
    said("signed up, and verified with the link's token")

    val together = refreshesOf { listOf(async { session.refresh() }, async { session.refresh() }).awaitAll() }
    check(together.map { it.second } == listOf(200)) { "$together" }
    said("two refreshes at once: one request")

    http.loses = 2
    val lost = refreshesOf { session.refresh() }
    check(lost.map { it.second } == listOf(200, 200, 200) && lost.distinct().size == 1) { "$lost" }
    check(session.who() == name)
    said("two answers lost: repeated with the same key, signed in")

    http.loses = 3
    val killed = refreshesOf { check(runCatching { session.refresh() }.exceptionOrNull() is IOException) }
    val restarted = LatchkeySession(store, http, now)
    val resumed = refreshesOf { restarted.refresh() }
    check(resumed == killed.distinct()) { "$killed $resumed" }
    check(restarted.who() == name)
    said("killed before the answer was stored: the next process sends the same key, signed in")

    // As a store would leave it that does not clear the key with the new tokens.
    store.set(JSONObject(store.get()!!).put("key", resumed[0].first).toString())
    val unchanged = refreshesOf { restarted.refresh() }
    check(unchanged.map { it.second } == listOf(400, 200) && unchanged.distinctBy { it.first }.size == 2) { "$unchanged" }
    said("a key that was used up: 400, then a fresh one, signed in")

    http.refuses = 1
    check(refreshesOf { check(restarted.who() == name) }.map { it.second } == listOf(200))
    http.refuses = 2
    check(refreshesOf { check(restarted.request("GET", "/me").status == 401) }.size == 1)
    check(http.refuses == 0 && restarted.who() == name)
    said("refused before the token's end: refreshed, and repeated once; refused again: that is the answer")

    skipped += 700_000
    check(refreshesOf { check(restarted.who() == name) }.map { it.second } == listOf(200))
    said("past three quarters of the token's life: refreshed ahead of a request")

    skipped += 700_000
    http.loses = 3
    check(restarted.who() == name)
    restarted.refresh()
    said("that refresh failed: the request went out with the token that was still good")

    val before = store.get()!!
    restarted.logIn(name, PASSWORD)
    val left = LatchkeySession(FileStore(file.resolveSibling("left.json")).also { it.set(before) }, http, now)
    check((runCatching { left.refresh() }.exceptionOrNull() as? SignedOut)?.code == "session_ended")
    said("logged in again: the session before is over")

    val copy = store.get()!!
    restarted.refresh()
    restarted.refresh()
    val stolen = LatchkeySession(FileStore(file.resolveSibling("stolen.json")).also { it.set(copy) }, http, now)
    check((runCatching { stolen.refresh() }.exceptionOrNull() as? SignedOut)?.code == "token_reused")
    check((runCatching { restarted.refresh() }.exceptionOrNull() as? SignedOut)?.code == "session_ended")
    check(!isSignedIn())
    said("a copied token was used: noticed, and over for both")

    val typed = ArrayDeque<String>()
    val asked = mutableListOf<String?>()
    val askPassword: suspend (Problem?) -> String? = { problem -> asked += problem?.code; typed.removeFirstOrNull() }
    val owner = LatchkeySession(store, http, now, askPassword)
    owner.logIn(name, PASSWORD)
    suspend fun replacementsOf(what: suspend () -> Unit) =
        http.replacements.size.let { before -> what(); http.replacements.drop(before) }

    http.loses = 2
    val proofs = replacementsOf { owner.reauthenticate(PASSWORD) }
    check(proofs.map { it.second } == listOf(200, 200, 200) && proofs.distinct().size == 1) { "$proofs" }
    check(owner.who() == name && !JSONObject(store.get()!!).has("proof"))
    said("the password again, two answers lost: repeated with the same key, one new session")

    http.loses = 3
    val unanswered = replacementsOf { check(runCatching { owner.reauthenticate(PASSWORD) }.exceptionOrNull() is IOException) }
    typed += PASSWORD
    val reopened = LatchkeySession(store, http, now, askPassword)
    val answered = replacementsOf { check(reopened.who() == name) }
    check(answered == unanswered.distinct() && asked.single() == null) { "$unanswered $answered $asked" }
    said("all answers lost, and killed: the password and the same key bring the new session")

    asked.clear()
    typed += listOf("not this one", PASSWORD)
    http.wantsProof = 1
    check(reopened.exportMe().has("user") && asked == listOf(null, "wrong_password")) { "$asked" }
    http.wantsProof = 1
    check((runCatching { reopened.exportMe() }.exceptionOrNull() as? Problem)?.code == "reauthentication_required")
    check(reopened.who() == name)
    said("a request that wants a proof: asked, and repeated; let be, refused, and signed in still")

    reopened.changePassword(PASSWORD, "seven quiet llamas")
    check(reopened.updateMe(locale = "ko").getJSONObject("user").getString("username") == name)
    val resetId = reopened.forgotPassword(name)
    val resetCode = Regex("(?m)^[0-9]{8}$").find(http.lastMail())!!.value
    reopened.resetPassword(mapOf("reset_id" to resetId, "code" to resetCode), PASSWORD)
    check((runCatching { reopened.who() }.exceptionOrNull() as? SignedOut)?.code == "session_ended")
    said("the password changed, forgotten and reset with the code: signed out everywhere")

    reopened.logIn(name, PASSWORD)
    reopened.deleteAccount()
    check(!isSignedIn())
    check((runCatching { reopened.logIn(name, PASSWORD) }.exceptionOrNull() as? Problem)?.code == "invalid_credentials")
    said("the account deleted, and the store empty")

    linked.logOut()
    session.signUp(name, "$name@example.com", PASSWORD).let { id ->
        session.verify(id, "code" to Regex("(?m)^[0-9]{8}$").find(http.lastMail())!!.value)
    }
    session.logOut()
    check(!isSignedIn())
    store.set("""{"access":"rubbish","refresh":"rubbish"}""")
    session.logOut()
    check(!isSignedIn())
    said("logged out, also of what the server does not know")
}
