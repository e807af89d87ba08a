"""Signs in for schemathesis, anew for each request: what it tries ends sessions. The person is the examples' own, until a
request has renamed or deleted them: then somebody else follows.
"""

import itertools
import json
import os
import re
import urllib.error
import urllib.request

import schemathesis

API = os.environ["LATCHKEY_API"]
PASSWORD = "correct horse battery"
PROTECTED = [
    "/me",
    "/me/export",
    "/sessions",
    "/sessions/{id}",
    "/reauthenticate",
    "/password/change",
    "/email/change",
    "/email/confirm",
]
NAMES = itertools.chain(["ann"], (f"ann{number}" for number in itertools.count(2)))


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, headers={"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def sign_up():
    """Somebody new; their name."""
    name = next(NAMES)
    email = f"{name}@example.com"
    signup = {"username": name, "email": email, "password": PASSWORD, "client": "app"}
    signup_id = call("/signup", signup)["signup_id"]
    texts = [mail["text"] for mail in call("/_local/mail.json") if mail["to"] == email]
    code = re.search(r"(?m)^[0-9]{8}$", texts[-1])[0]
    call("/verify", {"signup_id": signup_id, "code": code, "client": "app"})
    return name


person = sign_up()


def log_in():
    global person
    try:
        return call("/login", {"username": person, "password": PASSWORD, "client": "app"})["token"]
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        person = sign_up()
        return log_in()


@schemathesis.auth(refresh_interval=None).apply_to(path=PROTECTED)
class Session:
    def get(self, case, context):
        return log_in()["access"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """A made-up refresh token is as good as any other text: now and then it is a genuine one."""
    has_token = isinstance(case.body, dict) and isinstance(case.body.get("refresh"), str)
    if has_token and case.path in ("/refresh", "/logout") and len(case.body["refresh"]) % 2:
        case.body["refresh"] = log_in()["refresh"]
