// Adds hashes of npm's bcrypt, bcryptjs and Better Auth to hashes.json; see generate.py.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const bcrypt = require("bcrypt");
const bcryptjs = require("bcryptjs");
const betterAuth = await import(require.resolve("better-auth/crypto"));
const file = new URL("hashes.json", import.meta.url);
const hashes = JSON.parse(readFileSync(file));
const version = (name) => JSON.parse(readFileSync(`${process.env.NODE_PATH}/${name}/package.json`)).version;
const add = (name, password, hash, more = {}) =>
  hashes.encoded.push({ oracle: `${name} ${version(name)} (npm)`, hash, password, ...more });

const password = "correct horse battery";
const compatible = "ﬁve² Ⅷ … naïve";
const long = "가나다라마바사아자차카타파하".repeat(3);
add("bcrypt", password, bcrypt.hashSync(password, 5));
add("bcrypt", compatible, bcrypt.hashSync(compatible, 5));
// It cuts at 72 bytes by itself.
add("bcrypt", long, bcrypt.hashSync(long, 5), { truncated: true });
add("bcrypt", "ab\0cd", bcrypt.hashSync("ab\0cd", 5));
add("bcryptjs", password, bcryptjs.hashSync(password, 5));
// Better Auth hashes the NFKC form.
add("better-auth", password, await betterAuth.hashPassword(password));
add("better-auth", compatible, await betterAuth.hashPassword(compatible));
writeFileSync(file, `${JSON.stringify(hashes, null, 2)}\n`);
