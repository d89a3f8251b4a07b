// A page that streams with fetch, through the durable one or without it.
import { durable } from "../../js/durable-fetch.js";

let asked = 0; // requests, whoever made them

function counted(url, init) {
  asked += 1;
  return fetch(url, init);
}

const resumed = durable(counted, { pause: () => 0 });

// Returns what an answer said, and how many requests it took; with `take`, hangs up after so many pieces.
async function ask(url, headers, body, durably, take = Infinity) {
  asked = 0;
  const answer = await (durably ? resumed : counted)(url, { method: "POST", headers, body });
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let said = "";
  for (let pieces = 0; pieces < take; pieces += 1) {
    const { value, done } = await reader.read();
    if (done) break;
    said += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return [said, asked];
}

Object.assign(window, { ask });
