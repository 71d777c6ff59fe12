// Calls Sidekey with the clients of JavaScript functions: AWS's SDK, Powertools, middy, and plain HTTP
// with fetch. As in a function, environment variables set the address and the token.
//
// The program reads steps from its standard input and prints one line of JSON for each step. See
// tests/promises/real_clients.rs.

import { createInterface } from "node:readline";
import { getSecret } from "@aws-lambda-powertools/parameters/secrets";
import {
  getParameter,
  getParameters,
  getParametersByName,
} from "@aws-lambda-powertools/parameters/ssm";
import {
  BatchGetSecretValueCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import {
  GetParameterCommand,
  GetParametersCommand,
  PutParameterCommand,
  SSMClient,
  paginateGetParametersByPath,
} from "@aws-sdk/client-ssm";
import middy from "@middy/core";
import secretsManager from "@middy/secrets-manager";
import parameterStore from "@middy/ssm";

const sdk = new SecretsManagerClient();
const ssm = new SSMClient();
// The name localhost, as in middy's middlewares for AWS's extension.
const extension = `http://localhost:${process.env.PARAMETERS_SECRETS_EXTENSION_HTTP_PORT}`;
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

function parameter(answer) {
  return {
    arn: answer.ARN,
    name: answer.Name,
    type: answer.Type,
    value: answer.Value,
    version: answer.Version,
    selector: answer.Selector ?? "",
    date: answer.LastModifiedDate.getTime(),
  };
}

async function readParameter(name, { decrypt = "true" } = {}) {
  const input = { Name: name, WithDecryption: decrypt === "true" };
  return parameter((await ssm.send(new GetParameterCommand(input))).Parameter);
}

async function readParameters(names) {
  const input = { Names: names.split(","), WithDecryption: true };
  const answer = await ssm.send(new GetParametersCommand(input));
  return { values: answer.Parameters.map(parameter), invalid: answer.InvalidParameters };
}

async function listPath(path, { recursive }) {
  const input = { Path: path, Recursive: recursive === "true", WithDecryption: true };
  const values = [];
  for await (const page of paginateGetParametersByPath({ client: ssm }, input)) {
    values.push(...page.Parameters.map(parameter));
  }
  return { values };
}

// Reads parameters with Powertools. The names of SecureString parameters end in `password`.
async function byName(names) {
  const options = Object.fromEntries(
    names
      .split(",")
      .map((name) => [name, { decrypt: name.endsWith("password"), transform: "auto" }]),
  );
  return { values: await getParametersByName(options, { throwOnError: false }) };
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

// Reads parameters with middy. A name that ends in a slash is a path.
async function parametersInMiddy(names) {
  const key = (name) => name.split("/").at(-1).replace(".", "_") || "path";
  const fetchData = Object.fromEntries(names.split(",").map((name) => [key(name), name]));
  const own = { setToContext: true, disablePrefetch: true, cacheExpiry: 0 };
  const handler = middy(async (event, context) => context).use(
    parameterStore({ fetchData, ...own }),
  );
  return { values: await handler({}, {}) };
}

async function inTurn(ask, times) {
  const answers = [];
  for (let n = 0; n < times; n++) answers.push(await ask());
  return answers;
}

const atOnce = (ask, times) => Promise.all(Array.from({ length: times }, ask));

function distinct(answers) {
  return { distinct: [...new Set(answers.map((answer) => answer.text ?? answer.value ?? answer.body))] };
}

const ACTS = {
  "sdk get": get,
  "sdk batch": batch,
  "sdk put": (id) => sdk.send(new PutSecretValueCommand({ SecretId: id, SecretString: "new" })),
  "sdk many": async (id, { times }) => distinct(await atOnce(() => get(id, {}), +times)),
  "ssm get": readParameter,
  "ssm all": readParameters,
  "ssm path": listPath,
  "ssm put": (name) => ssm.send(new PutParameterCommand({ Name: name, Value: "new" })),
  "ssm many": async (name, { times }) =>
    distinct(await atOnce(() => readParameter(name), +times)),
  "http get": fetched,
  "http kept": async (path, { times }) => distinct(await inTurn(() => fetched(path), +times)),
  "http many": async (path, { times }) => distinct(await atOnce(() => fetched(path), +times)),
  "powertools get": async (id) => ({ text: await getSecret(id) }),
  "powertools parameter": async (name, options) => ({
    value: await getParameter(name, { decrypt: true, ...options }),
  }),
  "powertools path": async (path) => ({ values: await getParameters(path, { decrypt: true }) }),
  "powertools named": byName,
  "middy get": inMiddy,
  "middy parameters": parametersInMiddy,
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
