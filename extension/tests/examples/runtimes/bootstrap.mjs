// What Lambda's Node.js runtime does with `handler.handle`, as far as a test needs it.

import { handle } from "./handler.mjs";

const invocation = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

for (;;) {
  const answer = await fetch(`${invocation}/next`);
  const id = answer.headers.get("Lambda-Runtime-Aws-Request-Id");
  const body = JSON.stringify(await handle(await answer.json()));
  await fetch(`${invocation}/${id}/response`, { method: "POST", body });
}
