// Asks for a streamed answer and prints what openai-node's accumulator makes of it.
// Usage: node final.mjs BASE_URL, with the request's body on stdin.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const body = JSON.parse(readFileSync(0, "utf8"));
try {
  const completion = await client.chat.completions.stream(body).finalChatCompletion();
  console.log(JSON.stringify({ completion }));
} catch (error) {
  console.log(JSON.stringify({ error: { kind: error.constructor.name, status: error.status, code: error.code } }));
}
