// A minimal version of Lambda's Node.js runtime, which calls `handler.handle`.

import { handle } from "./handler.mjs";

const invocation = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

for (;;) {
  const answer = await fetch(`${invocation}/next`);
  const id = answer.headers.get("Lambda-Runtime-Aws-Request-Id");
  const body = JSON.stringify(await handle(await answer.json()));
  await fetch(`${invocation}/${id}/response`, { method: "POST", body });
}
