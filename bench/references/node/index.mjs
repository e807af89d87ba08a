// The same login and refresh in Node.js, with the usual packages, bundled and minified. Simpler than ours: one kind of
// session, no retry key, and a signing key of its own instead of one from the database.

import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import http from 'node:http';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { verify } from '@node-rs/argon2';
import jwt from 'jsonwebtoken';

const TableName = process.env.TABLE_NAME;
const database = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const secret = process.env.AWS_SECRET_ACCESS_KEY;
const mac = (text) => createHmac('sha256', secret).update(text).digest('base64url');

function tokens(user, id, generation) {
  const access = jwt.sign({ sid: id, gen: generation, username: user.username }, privateKey, {
    algorithm: 'ES256',
    subject: user.pk,
    expiresIn: 900,
  });
  const text = [user.pk.slice(5), id, generation].join('.');
  return { user: { username: user.username }, session: { id }, token: { access, refresh: `${text}.${mac(text)}` } };
}

async function login({ email, password }) {
  const get = (pk, sk) => database.send(new GetCommand({ TableName, Key: { pk, sk }, ConsistentRead: true }));
  const { Item: owner } = await get(`EMAIL#${email}`, 'EMAIL');
  const sessions = { TableName, KeyConditionExpression: 'pk = :pk', ExpressionAttributeValues: { ':pk': `SESSIONS#${owner.user_id}` } };
  const [{ Item: user }] = await Promise.all([get(`USER#${owner.user_id}`, 'USER'), database.send(new QueryCommand(sessions))]);
  if (!(await verify(user.password_hash, password))) return [401, {}];
  const id = `n${randomBytes(15).toString('base64url')}`;
  const ends = Math.floor(Date.now() / 1000) + 900;
  await database.send(new PutCommand({ TableName, Item: { pk: `NODE#${owner.user_id}`, sk: id, generation: 1, ttl: ends } }));
  return [200, tokens(user, id, 1)];
}

async function refresh({ refresh: token }) {
  const [userId, id, generation, proof] = token.split('.');
  if (mac([userId, id, generation].join('.')) !== proof) return [401, {}];
  const [, { Item: user }] = await Promise.all([
    database.send(
      new UpdateCommand({
        TableName,
        Key: { pk: `NODE#${userId}`, sk: id },
        ConditionExpression: 'generation = :before',
        UpdateExpression: 'SET generation = :after',
        ExpressionAttributeValues: { ':before': Number(generation), ':after': Number(generation) + 1 },
      }),
    ),
    database.send(new GetCommand({ TableName, Key: { pk: `USER#${userId}`, sk: 'USER' }, ConsistentRead: true })),
  ]);
  return [200, tokens(user, id, Number(generation) + 1)];
}

const routes = { 'POST /login': login, 'POST /refresh': refresh };

async function handler({ routeKey, body }) {
  const [statusCode, answer] = await routes[routeKey](JSON.parse(body));
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) };
}

// The runtime's loop; AWS's own client of it builds C++ code with CMake.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');

function call(method, path, body) {
  return new Promise((done, failed) => {
    const request = http.request({ hostname, port, agent, method, path: '/2018-06-01/runtime/' + path }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done({ headers: response.headers, body: Buffer.concat(parts).toString() }));
    });
    request.on('error', failed);
    request.end(body);
  });
}

for (;;) {
  const { headers, body } = await call('GET', 'invocation/next');
  const answer = await handler(JSON.parse(body));
  await call('POST', `invocation/${headers['lambda-runtime-aws-request-id']}/response`, JSON.stringify(answer));
}
