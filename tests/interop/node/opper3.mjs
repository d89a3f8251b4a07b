// The driver of npm opperai 3.x, which speaks v2.
import { Opper } from "opperai-3";
import { method, serve } from "./lines.mjs";

const clients = new Map();

/** Return the one client that has these arguments. */
function client(args) {
  const key = JSON.stringify(args);
  if (!clients.has(key)) clients.set(key, new Opper(args));
  return clients.get(key);
}

serve(async (asked, seen) => {
  const args = asked.args.map((arg) => arg ?? undefined);
  const answer = await method(client(asked.client), asked)(...args);
  if (!answer?.result?.[Symbol.asyncIterator]) {
    seen.value = answer ?? null;
    return;
  }
  seen.headers = answer.headers;
  for await (const event of answer.result) {
    seen.events.push(event);
    if (seen.events.length === asked.take) break;
  }
});
