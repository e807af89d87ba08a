"""The same login and refresh in Python, with the usual packages. Simpler than ours: one kind of session, no retry key,
and a signing key of its own instead of one from the database."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time

import boto3
import jwt
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec

TABLE = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
HASHER = PasswordHasher()
KEY = ec.generate_private_key(ec.SECP256R1())
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"].encode()


def mac(text):
    return base64.urlsafe_b64encode(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()).decode()


def tokens(user, session_id, generation):
    now = int(time.time())
    claims = {"sub": user["pk"], "sid": session_id, "gen": generation, "iat": now, "exp": now + 900}
    text = f"{user['pk'][5:]}.{session_id}.{generation}"
    token = {"access": jwt.encode(claims, KEY, "ES256"), "refresh": f"{text}.{mac(text)}"}
    return {"user": {"username": user["username"]}, "session": {"id": session_id}, "token": token}


def get(pk, sk):
    return TABLE.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True)["Item"]


def login(body):
    user_id = get(f"EMAIL#{body['email']}", "EMAIL")["user_id"]
    user = get(f"USER#{user_id}", "USER")
    TABLE.query(
        KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": f"SESSIONS#{user_id}"}
    )
    HASHER.verify(user["password_hash"], body["password"])
    session_id = "p" + secrets.token_urlsafe(15).replace(".", "")
    TABLE.put_item(Item={"pk": f"PYTHON#{user_id}", "sk": session_id, "generation": 1, "ttl": int(time.time()) + 900})
    return tokens(user, session_id, 1)


def refresh(body):
    user_id, session_id, generation, proof = body["refresh"].split(".")
    if not hmac.compare_digest(mac(f"{user_id}.{session_id}.{generation}"), proof):
        raise ValueError("not one of ours")
    TABLE.update_item(
        Key={"pk": f"PYTHON#{user_id}", "sk": session_id},
        ConditionExpression="generation = :before",
        UpdateExpression="SET generation = :after",
        ExpressionAttributeValues={":before": int(generation), ":after": int(generation) + 1},
    )
    return tokens(get(f"USER#{user_id}", "USER"), session_id, int(generation) + 1)


def handler(event, context):
    answer = {"POST /login": login, "POST /refresh": refresh}[event["routeKey"]](json.loads(event["body"]))
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}
