// The driver of npm opperai 2.x, which speaks v1 and hands over bytes.
import Client from "opperai-2";
import { method, serve } from "./lines.mjs";

/** Make a call within a trace of the caller's own. */
async function traced(client, { name, ...body }) {
  const trace = await client.traces.start({ name });
  const answer = await client.call({ name, ...body, parent_span_uuid: trace.uuid });
  await trace.end({ output: answer.message });
  return { trace: trace.uuid, answer };
}

serve(async (asked, seen) => {
  const client = new Client(asked.client);
  if (asked.call === "trace") {
    seen.value = await traced(client, ...asked.args);
    return;
  }
  const answer = await method(client, asked)(...asked.args);
  if (!(answer instanceof ReadableStream)) {
    seen.value = answer ?? null;
    return;
  }
  const decoder = new TextDecoder("utf-8", { fatal: true });
  seen.value = "";
  for await (const bytes of answer) {
    seen.value += decoder.decode(bytes, { stream: true });
    if (asked.take !== null && seen.value.split("\n\n").length > asked.take) break;
  }
});
