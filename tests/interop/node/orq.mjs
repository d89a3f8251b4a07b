// The driver of npm @orq-ai/node, of the release that the first argument names.
import { method, serve } from "./lines.mjs";

delete process.env.ORQ_API_KEY;
const { Orq } = await import(process.argv[2]);
const clients = new Map();

/** Return the one client that has these arguments. */
function client(args) {
  const key = JSON.stringify(args);
  if (!clients.has(key)) clients.set(key, new Orq(args));
  return clients.get(key);
}

serve(async (asked, seen) => {
  const args = asked.args.map((arg) => arg ?? undefined);
  const answer = await method(client(asked.client), asked)(...args);
  if (!answer?.[Symbol.asyncIterator]) {
    seen.value = answer ?? null;
    return;
  }
  for await (const item of answer) {
    seen.events.push(item.data ?? null);
    if (seen.events.length === asked.take) break;
  }
});
