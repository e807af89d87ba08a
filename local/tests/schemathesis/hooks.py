"""Signs in for schemathesis, anew for each request: what it tries ends sessions. The person is the examples' own."""

import json
import os
import re
import urllib.request

import schemathesis

API = os.environ["LATCHKEY_API"]
PASSWORD = "correct horse battery"
PROTECTED = ["/me", "/sessions", "/sessions/{id}"]


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, headers={"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def sign_up():
    signup = {"username": "ann", "email": "ann@example.com", "password": PASSWORD, "client": "app"}
    signup_id = call("/signup", signup)["signup_id"]
    code = re.search(r"(?m)^[0-9]{8}$", call("/_local/mail.json")[-1]["text"])[0]
    call("/verify", {"signup_id": signup_id, "code": code, "client": "app"})


def log_in():
    return call("/login", {"username": "ann", "password": PASSWORD, "client": "app"})["token"]


sign_up()


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
