// How a driver is spoken to: requests and replies in JSON, a line each.
// A driver holds one SDK and tells what its caller sees; see tests/interop/opper/drivers/lines.py.
import { createInterface } from "node:readline";

/** Answer requests, any number at once, until there are no more; `perform(asked, seen)` fills in what is seen. */
export function serve(perform) {
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const asked = JSON.parse(line);
    const seen = { n: asked.n, value: null, events: [], headers: {}, error: null };
    try {
      await perform(asked, seen);
    } catch (error) {
      seen.error = told(error);
    }
    await new Promise(setImmediate); // a rejection that nobody handles ends the process before it replies
    process.stdout.write(JSON.stringify(seen) + "\n");
  });
}

/** Return the method that was asked for, ready to be called. */
export function method(client, { call }) {
  const names = call.split(".");
  const last = names.pop();
  const holder = names.reduce((held, name) => held[name], client);
  return holder[last].bind(holder);
}

/** Return what a caller can read from an error. */
function told(error) {
  const kinds = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) kinds.push(kind.name);
  const { message, statusCode, status, body, type, detail } = error;
  return { kind: kinds[0], kinds, message, status: statusCode ?? status, body, type, detail, cause: error.cause?.code };
}
