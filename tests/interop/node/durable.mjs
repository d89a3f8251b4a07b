// The driver of SDKs that are handed the durable fetch, or not. The first argument names the SDK; each
// request's `call` says how the caller leaves: at the "end", by a "break", or with an "abort".
import { durable } from "../../../js/durable-fetch.js";
import { serve } from "./lines.mjs";

// cuts are at bytes that chance decides: a frame that is longer than most connections takes many
const AT_ONCE = { repeats: 8, tries: 40, pause: () => 0 };

const ask = {
  async openai(url, fetch, body, signal) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0, fetch });
    const { headers, ...asked } = body;
    return client.chat.completions.stream(asked, { headers, signal });
  },

  async "opperai-3"(url, fetch, body, signal) {
    const { Opper } = await import("opperai-3");
    const { HTTPClient } = await import("opperai-3/lib/http.js");
    const httpClient = new HTTPClient({ fetcher: fetch });
    const client = new Opper({ httpBearer: "any", serverURL: `${url}/v2`, httpClient });
    return (await client.stream(body, { fetchOptions: { signal } })).result;
  },

  async "orq-4.15"(url, fetch, body, signal) {
    const { Orq } = await import("orq-4.15");
    const { HTTPClient } = await import("orq-4.15/lib/http.js");
    const httpClient = new HTTPClient({ fetcher: fetch });
    const client = new Orq({ apiKey: "any", serverURL: url, httpClient });
    const { agentKey, ...asked } = body;
    return client.agents.responses.create(asked, agentKey, { fetchOptions: { signal } });
  },
}[process.argv[2]];

serve(async ({ call, client, args: [body], take }, seen) => {
  const aborting = new AbortController();
  const stream = await ask(client.url, client.durable ? durable(fetch, AT_ONCE) : fetch, body, aborting.signal);
  for await (const event of stream) {
    seen.events.push(event);
    if (seen.events.length !== take) continue;
    if (call === "break") break;
    if (call === "abort") aborting.abort();
  }
  if (call === "end") seen.value = (await stream.finalChatCompletion?.()) ?? null;
});
