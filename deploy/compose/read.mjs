// Reads a parameter from Sidekey every few seconds, and prints it.
import { setTimeout as pause } from "node:timers/promises";

const port = process.env.SIDEKEY_PORT || "2773";
const headers = { "X-Aws-Parameters-Secrets-Token": process.env.SIDEKEY_TOKEN };

async function parameter(name) {
  const query = new URLSearchParams({ name });
  const answer = await fetch(`http://127.0.0.1:${port}/systemsmanager/parameters/get?${query}`, { headers });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).Parameter.Value;
}

do {
  console.log("node: /app/url is", await parameter("/app/url"));
} while (!process.argv.includes("--once") && (await pause(5000, true)));
