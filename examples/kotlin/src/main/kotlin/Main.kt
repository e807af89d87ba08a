package latchkey

import java.io.IOException
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.time.Duration
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.json.JSONArray
import org.json.JSONObject

private class Memory(var text: String? = null) : TokenStore {
    override suspend fun get() = text

    override suspend fun set(text: String?) {
        this.text = text
    }
}

private class Http(private val api: String) : Transport {
    private val client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build()
    val log = mutableListOf<String>()

    /** How many answers to refreshes are lost. */
    var loses = 0

    override suspend fun send(method: String, path: String, headers: Map<String, String>, body: JSONObject?): Answer =
        withContext(Dispatchers.IO) {
            val content = body?.let { HttpRequest.BodyPublishers.ofString(it.toString()) }
            val request = HttpRequest.newBuilder(URI(api + path)).timeout(Duration.ofSeconds(10))
                .method(method, content ?: HttpRequest.BodyPublishers.noBody())
            if (body != null) request.header("content-type", "application/json")
            headers.forEach(request::header)
            val answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString())
            log += "$method $path ${answer.statusCode()}"
            if (path == "/refresh" && loses-- > 0) throw IOException("the answer was lost, on purpose")
            Answer(answer.statusCode(), if (answer.body().startsWith("{")) JSONObject(answer.body()) else JSONObject())
        }

    fun lastMail(): String {
        val request = HttpRequest.newBuilder(URI("$api/_local/mail.json")).build()
        val mails = JSONArray(client.send(request, HttpResponse.BodyHandlers.ofString()).body())
        return mails.getJSONObject(mails.length() - 1).getString("text")
    }
}

/** The flows of docs/mobile.md against a local stack, whose URL is the argument. */
fun main(arguments: Array<String>) = runBlocking {
    val http = Http(arguments[0])
    val now = { System.nanoTime() / 1_000_000 }
    val store = Memory()
    val session = LatchkeySession(store, http, now)

    val name = "kim" + System.nanoTime() % 1_000_000
    val signupId = session.signUp(name, "$name@example.com", "correct horse battery")
    val code = Regex("(?m)^[0-9]{8}$").find(http.lastMail())!!.value
    session.verify(signupId, "code" to code)
    check(session.request("GET", "/me").body.getJSONObject("user").getString("username") == name)

    // Two at once: one request goes out, and both go on.
    val before = http.log.count { it.startsWith("POST /refresh") }
    listOf(async { session.refresh() }, async { session.refresh() }).awaitAll()
    check(http.log.count { it.startsWith("POST /refresh") } in before + 1..before + 2)

    // A lost answer is repeated with its key.
    http.loses = 2
    session.refresh()
    check(session.request("GET", "/me").status == 200)

    // The app is killed between the server's answer and its storing; the next process takes the same key up.
    http.loses = 3
    check(runCatching { session.refresh() }.exceptionOrNull() is IOException)
    val restarted = LatchkeySession(Memory(store.text), http, now)
    restarted.refresh()
    check(restarted.request("GET", "/me").status == 200)

    // The older copy is noticed, and its session is over for both.
    restarted.refresh()
    val stolen = LatchkeySession(Memory(store.text!!.let { JSONObject(it).apply { remove("key") }.toString() }), http, now)
    val noticed = runCatching { stolen.refresh() }.exceptionOrNull()
    check(noticed is SignedOut && noticed.code == "token_reused") { "$noticed" }
    check(runCatching { restarted.refresh() }.exceptionOrNull() is SignedOut)

    session.logIn(name, "correct horse battery")
    session.logOut()
    check(store.text == null)
    println("All flows ended as they should: ${http.log.size} requests.")
}
