// Calls Sidekey with the clients of JavaScript functions: AWS's SDK, Powertools, middy, and plain HTTP
// with fetch. As in a function, environment variables set the address and the token.
//
// The program reads steps from its standard input and prints one line of JSON for each step. See
// tests/promises/real_clients.rs.

import { createInterface } from "node:readline";
import { getSecret } from "@aws-lambda-powertools/parameters/secrets";
import {
  BatchGetSecretValueCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import middy from "@middy/core";
import secretsManager from "@middy/secrets-manager";

const sdk = new SecretsManagerClient();
const extension = `http://127.0.0.1:${process.env.PARAMETERS_SECRETS_EXTENSION_HTTP_PORT}`;
const headers = { "X-Aws-Parameters-Secrets-Token": process.env.AWS_SESSION_TOKEN };

function value(answer) {
  return answer.SecretString === undefined
    ? { base64: Buffer.from(answer.SecretBinary).toString("base64") }
    : { text: answer.SecretString };
}

async function get(id, { versionId, versionStage }) {
  const input = { SecretId: id, VersionId: versionId, VersionStage: versionStage };
  return value(await sdk.send(new GetSecretValueCommand(input)));
}

async function batch(ids) {
  const answer = await sdk.send(new BatchGetSecretValueCommand({ SecretIdList: ids.split(",") }));
  return {
    values: answer.SecretValues.map(value),
    errors: answer.Errors.map((error) => [error.SecretId, error.ErrorCode]),
  };
}

async function fetched(path) {
  const answer = await fetch(extension + path, { headers });
  return {
    status: answer.status,
    type: answer.headers.get("content-type"),
    body: await answer.text(),
  };
}

async function inMiddy(id) {
  const own = { setToContext: true, disablePrefetch: true, cacheExpiry: 0 };
  const options = { fetchData: { secret: id }, ...own };
  const handler = middy(async (event, context) => context.secret).use(secretsManager(options));
  return { text: JSON.stringify(await handler({}, {})) };
}

async function inTurn(ask, times) {
  const answers = [];
  for (let n = 0; n < times; n++) answers.push(await ask());
  return answers;
}

const atOnce = (ask, times) => Promise.all(Array.from({ length: times }, ask));

function distinct(answers) {
  return { distinct: [...new Set(answers.map((answer) => answer.text ?? answer.body))] };
}

const ACTS = {
  "sdk get": get,
  "sdk batch": batch,
  "sdk put": (id) => sdk.send(new PutSecretValueCommand({ SecretId: id, SecretString: "new" })),
  "sdk many": async (id, { times }) => distinct(await atOnce(() => get(id, {}), +times)),
  "http get": fetched,
  "http kept": async (path, { times }) => distinct(await inTurn(() => fetched(path), +times)),
  "http many": async (path, { times }) => distinct(await atOnce(() => fetched(path), +times)),
  "powertools get": async (id) => ({ text: await getSecret(id) }),
  "middy get": inMiddy,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [client, act, target, ...options] = line.split(" ");
  let result;
  try {
    const named = Object.fromEntries(options.map((option) => option.split("=")));
    result = await ACTS[`${client} ${act}`](target, named);
  } catch (error) {
    result = { error: error.constructor.name, code: error.name, message: error.message };
  }
  console.log(JSON.stringify(result));
}
