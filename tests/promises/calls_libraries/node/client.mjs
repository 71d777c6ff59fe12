// Calls OpenAI, SendGrid and Twilio through Sidekey with their own libraries.
//
// Executes one step per line of standard input, and prints the result as a line of JSON.

import { createInterface } from "node:readline";
import { Client } from "@sendgrid/client";
import sendgrid from "@sendgrid/mail";
import OpenAI, { toFile } from "openai";
import twilio from "twilio";

const MESSAGES = [{ role: "user", content: "Hello" }];
let key;

const steps = {
  async plain() {
    const answer = await new OpenAI().chat.completions.create({ model: "gpt-4o", messages: MESSAGES });
    return answer.choices[0].message.content;
  },

  async stream() {
    const request = { model: "gpt-4o", messages: MESSAGES, stream: true };
    let text = "";
    for await (const piece of await new OpenAI().chat.completions.create(request)) {
      text += piece.choices[0].delta.content ?? "";
    }
    return text;
  },

  async upload() {
    const file = await toFile(Buffer.alloc(2_000_000, "x"), "data.jsonl");
    return (await new OpenAI().files.create({ file, purpose: "batch" })).bytes;
  },

  async mail() {
    const client = new Client();
    client.setApiKey(process.env.SENDGRID_API_KEY);
    client.setDefaultRequest("baseUrl", process.env.SENDGRID_URL);
    sendgrid.setClient(client);
    const message = { from: "from@acme.example", to: "to@acme.example", subject: "Subject", text: "Text" };
    return (await sendgrid.send(message))[0].statusCode;
  },

  async message() {
    // This library accepts only account SIDs that begin with AC. The SID is not confidential.
    const client = twilio("AC1", process.env.TWILIO_AUTH_TOKEN);
    client.api.baseUrl = process.env.TWILIO_URL;
    return (await client.messages.create({ to: "+1", from: "+2", body: "Hello" })).sid;
  },

  // Reads the key of OpenAI in the ordinary way, so that the key is in this process.
  async read() {
    const url = `http://127.0.0.1:${process.env.SIDEKEY_PORT}/secretsmanager/get`;
    const query = new URLSearchParams({ secretId: "openai-api-key/sms", field: "ai_api_key" });
    const headers = { "X-Aws-Parameters-Secrets-Token": process.env.ORDINARY_TOKEN };
    key = await (await fetch(`${url}?${query}`, { headers })).text();
    return key.length;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify(await steps[line.trim()]()));
  } catch (error) {
    console.log(JSON.stringify(`${error.name}: ${error.message}`));
  }
}
