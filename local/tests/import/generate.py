"""Makes hashes.json and the export files beside it, by the source systems' own code. Run once; what it wrote is kept.

python3 -m venv /tmp/v && /tmp/v/bin/pip install 'django[argon2,bcrypt]==5.2.*' passlib==1.7.4 bcrypt==5.0.0 argon2-cffi firebase-scrypt==0.1.0
(cd /tmp/n && npm install bcrypt@6 bcryptjs@3 better-auth@1)      # for node.mjs
/tmp/v/bin/python generate.py && NODE_PATH=/tmp/n/node_modules node node.mjs
"""

import base64
import csv
import hashlib
import json
import pathlib
import unicodedata

import bcrypt
import django
from argon2 import PasswordHasher as Argon2
from argon2.low_level import Type, hash_secret, hash_secret_raw
from django.conf import settings
from django.contrib.auth import hashers
from firebase_scrypt import encrypt, generate_derived_key
from passlib import hash as passlib

settings.configure(
    PASSWORD_HASHERS=[
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
        "django.contrib.auth.hashers.Argon2PasswordHasher",
        "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
        "django.contrib.auth.hashers.BCryptPasswordHasher",
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ],
)
django.setup()

HERE = pathlib.Path(__file__).parent
PASSWORD = "correct horse battery"
# NFKC changes it: the sources hash what is typed.
COMPATIBLE = "ﬁve² Ⅷ … naïve"
KOREAN = "비밀번호는 열두글자"
# 24 Korean syllables are 72 bytes.
LONG = "가나다라마바사아자차카타파하" * 3
hashes = []


def add(oracle, hash, password=PASSWORD, **more):
    hashes.append({"oracle": oracle, "hash": hash, "password": password, **more})
    return hash


# Django, at the costs of its defaults unless a test would wait for it.
class Cheap(hashers.PBKDF2PasswordHasher):
    iterations = 1000


class CheapArgon2(hashers.Argon2PasswordHasher):
    memory_cost, time_cost, parallelism = 4096, 2, 4


dj = f"Django {django.get_version()}"
django_pbkdf2 = add(dj, hashers.make_password(PASSWORD, hasher="pbkdf2_sha256"))
for password in (COMPATIBLE, KOREAN, LONG, "x" * 100):
    add(dj, Cheap().encode(password, "NaCl&salt-Ä"), password)
add(dj, hashers.PBKDF2SHA1PasswordHasher().encode(PASSWORD, "s0mesalt", 2000))
django_argon2 = add(dj, hashers.make_password(PASSWORD, hasher="argon2"), cost="memory")
add(dj, CheapArgon2().encode(PASSWORD, "somesaltsomesalt"))
django_bcrypt_sha256 = add(dj, hashers.make_password(PASSWORD, hasher="bcrypt_sha256"))
for password in (COMPATIBLE, LONG):
    add(dj, hashers.BCryptSHA256PasswordHasher().encode(password, bcrypt.gensalt(4)), password)
add(dj, hashers.BCryptPasswordHasher().encode(PASSWORD, bcrypt.gensalt(5)))
django_scrypt = add(dj, hashers.make_password(PASSWORD, hasher="scrypt"))

# passlib, its own formats and its forms of others.
pl = "passlib 1.7.4"
add(pl, passlib.pbkdf2_sha256.using(rounds=1500).hash(PASSWORD))
add(pl, passlib.pbkdf2_sha512.using(rounds=1500).hash(PASSWORD))
add(pl, passlib.pbkdf2_sha1.using(rounds=1500).hash(PASSWORD))
add(pl, passlib.django_pbkdf2_sha256.using(rounds=1500).hash(PASSWORD))
add(pl, passlib.scrypt.using(rounds=10).hash(PASSWORD))

# bcrypt.
bc = f"bcrypt {bcrypt.__version__} (PyPI)"
auth0 = add(bc, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode())
supabase = add(bc, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode())
php = bcrypt.hashpw(COMPATIBLE.encode(), bcrypt.gensalt(5)).decode()
add(bc, php.replace("$2b$", "$2y$"), COMPATIBLE)
# Only the first 72 bytes count. bcrypt 5 refuses longer ones, so its hash is of those.
add(bc, bcrypt.hashpw(LONG.encode()[:72], bcrypt.gensalt(5)).decode(), LONG, truncated=True)
add(bc, bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(5)).decode(), "x" * 72)
add(bc, bcrypt.hashpw(b"ab\0cd", bcrypt.gensalt(5)).decode(), "ab\0cd")

# argon2 in its other kinds.
for kind, name in ((Type.I, "argon2i"), (Type.D, "argon2d")):
    text = hash_secret(PASSWORD.encode(), b"somesaltsomesalt", 3, 1024, 2, 24, kind).decode()
    assert text.startswith(f"${name}$")
    add("argon2-cffi", text)

# Firebase: the sample of github.com/firebase/scrypt, and an independent implementation.
firebase = {
    "signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
    "salt_separator": "Bw==",
    "rounds": 8,
    "mem_cost": 14,
}
sample = {
    "salt": "42xEC+ixf3L2lw==",
    "hash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
}
firebase_hashes = [
    {"oracle": "github.com/firebase/scrypt", "password": "user1password", **sample},
]
for password, salt in ((PASSWORD, "c2FsdHNhbHQxMg=="), (COMPATIBLE, "/+8BAgMEBQYHCA==")):
    key = generate_derived_key(password, salt, firebase["salt_separator"], 8, 14)
    made = base64.b64encode(encrypt(base64.b64decode(firebase["signer_key"]), key)).decode()
    firebase_hashes.append({"oracle": "firebase-scrypt 0.1.0 (PyPI)", "password": password, "salt": salt, "hash": made})

# Keycloak: PBKDF2 as its Pbkdf2PasswordHashProvider has it, by CPython's hashlib; argon2 by argon2-cffi.
b64 = lambda data: base64.b64encode(data).decode()


def keycloak(algorithm, iterations, digest, length, password=PASSWORD):
    salt = hashlib.sha256(f"{algorithm}{iterations}".encode()).digest()[:16]
    value = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations, length)
    return {
        "secretData": json.dumps({"value": b64(value), "salt": b64(salt), "additionalParameters": {}}),
        "credentialData": json.dumps(
            {"hashIterations": iterations, "algorithm": algorithm, "additionalParameters": {}}
        ),
    }


salt = hashlib.sha256(b"keycloak argon2").digest()[:16]
keycloak_argon2 = {
    "secretData": json.dumps({
        "value": b64(hash_secret_raw(PASSWORD.encode(), salt, 5, 7168, 1, 32, Type.ID)), "salt": b64(salt),
        "additionalParameters": {}}),
    "credentialData": json.dumps({"hashIterations": 5, "algorithm": "argon2", "additionalParameters": {
        "hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}}),
}
keycloak_hashes = {
    "ann": keycloak("pbkdf2-sha256", 27500, "sha256", 64),
    "bob": keycloak("pbkdf2-sha512", 210000, "sha512", 64),
    "cem": keycloak("pbkdf2", 20000, "sha1", 64),
    "dia": keycloak_argon2,
}

write = lambda name, value: (HERE / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
write("hashes.json", {
    "encoded": hashes, "firebase": {"parameters": firebase, "hashes": firebase_hashes},
    "keycloak": [{"oracle": "CPython hashlib, argon2-cffi", "password": PASSWORD, **one} for one in keycloak_hashes.values()],
})

# django-admin dumpdata auth.user --indent 2
user = lambda pk, username, email, password, **more: {
    "model": "auth.user", "pk": pk,
    "fields": {
        "password": password, "last_login": "2026-05-02T08:11:09.221Z", "is_superuser": False, "username": username,
        "first_name": "Ann", "last_name": "Example", "email": email, "is_staff": False, "is_active": True,
        "date_joined": "2019-03-01T09:12:44.512Z", "groups": [], "user_permissions": [], **more,
    },
}
write("django.json", [
    {"model": "contenttypes.contenttype", "pk": 1, "fields": {"app_label": "auth", "model": "user"}},
    user(1, "ann", "ann@example.com", django_pbkdf2, is_staff=True, is_superuser=True),
    user(2, "bob", "Bob@Example.com", django_bcrypt_sha256),
    user(3, "cem", "cem@example.com", django_scrypt),
    user(4, "dia", "dia@example.com", django_argon2),
    user(5, "eve", "eve@example.com", hashers.make_password(PASSWORD, hasher="md5")),
    user(6, "fay", "fay@example.com", hashers.make_password(None)),
    user(7, "gus", "gus@example.com", Cheap().encode(PASSWORD, "gusgusgusgus"), is_active=False),
    user(8, "hal@example.com", "hal@example.com", Cheap().encode(PASSWORD, "halhalhalhal")),
    user(9, "ida", "", Cheap().encode(PASSWORD, "idaidaidaida")),
    user(10, "ANN", "ann2@example.com", Cheap().encode(PASSWORD, "annannannann")),
])

# firebase auth:export users.json
account = lambda id, **more: {
    "localId": id, "emailVerified": True, "displayName": "Example", "lastSignedInAt": "1714637469221",
    "createdAt": "1551431564512", "disabled": False, **more,
    "providerUserInfo": [],
}
write("firebase.json", {"users": [
    account("kYi4EvWQlQTKSfnJ3dRSP6IH3ed2", email="user1@example.com", passwordHash=sample["hash"], salt=sample["salt"]),
    account("b0WqE8vJ2mXtYp3RkLs7uZc1NdH2", email="bob@example.com", passwordHash=firebase_hashes[1]["hash"],
            salt=firebase_hashes[1]["salt"]),
    account("c4NdH2b0WqE8vJ2mXtYp3RkLs7u1", email="cem@example.com", disabled=True),
    account("d7RkLs7uZc1NdH2b0WqE8vJ2mXt3", email="dia@example.com", emailVerified=False),
    account("e2vJ2mXtYp3RkLs7uZc1NdH2b0W4", phoneNumber="+15555550100"),
]})

# Auth0: the users-exports job, joined with the password hashes that support hands out.
lines = [
    {"user_id": "auth0|5c78f5cc1b2c3d4e5f607182", "email": "ann@example.com", "email_verified": True, "username": "ann",
     "name": "ann@example.com", "nickname": "ann", "created_at": "2019-03-01T09:12:44.512Z",
     "updated_at": "2026-05-02T08:11:09.221Z", "passwordHash": auth0, "connection": "Username-Password-Authentication"},
    {"_id": {"$oid": "5c78f5cc1b2c3d4e5f607183"}, "email": "bob@example.com", "email_verified": True,
     "passwordHash": auth0, "password_set_date": {"$date": "2019-03-01T09:12:44.512Z"}, "tenant": "example",
     "connection": "Username-Password-Authentication", "_tmp_is_unique": True},
    {"user_id": "auth0|5c78f5cc1b2c3d4e5f607184", "email": "cem@example.com", "email_verified": True, "blocked": True,
     "created_at": "2020-01-01T00:00:00.000Z", "passwordHash": auth0},
    {"user_id": "google-oauth2|103547991597142817347", "email": "dia@example.com", "email_verified": True,
     "created_at": "2020-01-01T00:00:00.000Z"},
    {"user_id": "auth0|5c78f5cc1b2c3d4e5f607186", "email": "eve@example.com", "email_verified": False,
     "created_at": "2020-01-01T00:00:00.000Z", "passwordHash": auth0},
]
(HERE / "auth0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

# Cognito: the header of get-csv-header, as its documentation has it.
header = ("cognito:username,name,given_name,family_name,middle_name,nickname,preferred_username,profile,picture,website,"
          "email,email_verified,gender,birthdate,zoneinfo,locale,phone_number,phone_number_verified,address,updated_at,"
          "cognito:mfa_enabled").split(",")
with open(HERE / "cognito.csv", "w", newline="") as file:
    rows = csv.DictWriter(file, header, restval="")
    rows.writeheader()
    base = {"cognito:mfa_enabled": "false", "phone_number_verified": "false"}
    rows.writerow({**base, "cognito:username": "ann", "email": "ann@example.com", "email_verified": "true", "locale": "ko_KR"})
    rows.writerow({**base, "cognito:username": "5f0a7a3e-2f8e-4d1b-9c55-7d1c2b3a4e5f", "preferred_username": "bob",
                   "email": "bob@example.com", "email_verified": "TRUE", "address": "1 Example Street\nExampletown"})
    rows.writerow({**base, "cognito:username": "cem", "email": "cem@example.com", "email_verified": "false"})

# Supabase: \copy (select * from auth.users) to users.csv csv header (columns of the current schema)
columns = ("instance_id,id,aud,role,email,encrypted_password,email_confirmed_at,invited_at,confirmation_token,"
           "confirmation_sent_at,recovery_token,recovery_sent_at,email_change_token_new,email_change,email_change_sent_at,"
           "last_sign_in_at,raw_app_meta_data,raw_user_meta_data,is_super_admin,created_at,updated_at,phone,"
           "phone_confirmed_at,phone_change,phone_change_token,phone_change_sent_at,confirmed_at,"
           "email_change_token_current,email_change_confirm_status,banned_until,reauthentication_token,"
           "reauthentication_sent_at,is_sso_user,deleted_at,is_anonymous").split(",")
row = {
    "instance_id": "00000000-0000-0000-0000-000000000000", "aud": "authenticated", "role": "authenticated",
    "raw_app_meta_data": '{"provider": "email", "providers": ["email"]}', "raw_user_meta_data": '{"name": "A, \\"b\\""}',
    "created_at": "2023-04-05 06:07:08.123456+00", "updated_at": "2023-04-05 06:07:08.123456+00",
    "email_confirmed_at": "2023-04-05 06:09:00+00", "is_sso_user": "f", "is_anonymous": "f",
    "email_change_confirm_status": "0",
}
with open(HERE / "supabase.csv", "w", newline="") as file:
    rows = csv.DictWriter(file, columns, restval="")
    rows.writeheader()
    rows.writerow({**row, "id": "a6d1a0a5-7a7e-4c2b-8f53-0c7d7a0c1b01", "email": "ann@example.com", "encrypted_password": supabase})
    rows.writerow({**row, "id": "a6d1a0a5-7a7e-4c2b-8f53-0c7d7a0c1b02", "email": "bob@example.com", "encrypted_password": supabase,
                   "email_confirmed_at": ""})
    rows.writerow({**row, "id": "a6d1a0a5-7a7e-4c2b-8f53-0c7d7a0c1b03", "email": "cem@example.com", "encrypted_password": supabase,
                   "banned_until": "2125-01-01 00:00:00+00"})
    rows.writerow({**row, "id": "a6d1a0a5-7a7e-4c2b-8f53-0c7d7a0c1b04", "email": "dia@example.com", "encrypted_password": supabase,
                   "deleted_at": "2024-01-01 00:00:00+00"})
    rows.writerow({**row, "id": "a6d1a0a5-7a7e-4c2b-8f53-0c7d7a0c1b05", "email": "", "is_anonymous": "t"})

# kc.sh export --realm example --users realm_file
person = lambda name, **more: {
    "id": f"1f0c9f6e-3a8e-4d0e-9c1a-00000000000{len(name)}-{name}", "username": name, "firstName": "Ann", "lastName": "Example",
    "email": f"{name}@example.com", "emailVerified": True, "createdTimestamp": 1551431564512, "enabled": True, "totp": False,
    "disableableCredentialTypes": [], "requiredActions": [], "realmRoles": ["default-roles-example"], "notBefore": 0,
    "groups": [], **more,
}
credential = lambda data: {"id": "5d2f", "type": "password", "createdDate": 1551431564512, **data}
write("keycloak.json", {
    "id": "b6e3d2c1", "realm": "example", "enabled": True, "sslRequired": "external",
    "roles": {"realm": [{"name": "editor", "composite": False}]},
    "users": [
        person("ann", credentials=[{"id": "9e1", "type": "otp", "secretData": "{}", "credentialData": "{}"},
                                   credential(keycloak_hashes["ann"])],
               realmRoles=["default-roles-example", "offline_access", "uma_authorization", "editor"],
               attributes={"locale": ["ko"]}),
        person("bob", credentials=[credential(keycloak_hashes["bob"])]),
        person("cem", credentials=[credential(keycloak_hashes["cem"])], enabled=False),
        person("dia", credentials=[credential(keycloak_hashes["dia"])]),
        person("eve", credentials=[], emailVerified=False),
        {"id": "2c", "username": "service-account-app", "enabled": True, "totp": False, "serviceAccountClientId": "app",
         "credentials": [], "realmRoles": ["default-roles-example"]},
    ],
    "clients": [{"clientId": "app", "users": "no list"}],
    "keycloakVersion": "26.0.7",
})
assert unicodedata.normalize("NFKC", COMPATIBLE) != COMPATIBLE
