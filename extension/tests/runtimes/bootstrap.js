#!/usr/bin/env node
// Stands for Lambda's runtime for Node: hands each event to the function beside it.

const invocation = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

async function main() {
  const { handle } = await import("/var/task/handler.mjs");
  for (;;) {
    const next = await fetch(`${invocation}/next`);
    const id = next.headers.get("lambda-runtime-aws-request-id");
    const body = JSON.stringify(await handle(await next.json()));
    await fetch(`${invocation}/${id}/response`, { method: "POST", body });
  }
}

main();
