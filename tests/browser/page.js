// A page that follows a session as any page would: with the browser's own EventSource.
//
// Its address says where: ?server=URL&session=ID. Whether and when to reconnect, and
// from where, is the browser's business; the page writes down what it is given.
"use strict";

const EVENTS = [
  "connected", "heartbeat", "user_message_created", "thinking", "content",
  "tool_use_start", "tool_use_parameter_delta", "tool_use_parameter_streaming_complete",
  "tool_execution_start", "tool_execution_complete", "permission", "notification",
  "error", "complete", "session_created", "session_deleted",
];

const asked = new URLSearchParams(location.search);
const server = asked.get("server");
const session = asked.get("session");

const transcript = []; // [lastEventId, type, data]
let breaks = 0; // connections that were lost, or not had
let waiting = []; // [type, times, resolve]

const source = new EventSource(`${server}/stream?sessionId=${session}`);
for (const name of [...EVENTS, "message"]) { // a block without a name would be a "message"
  source.addEventListener(name, (event) => {
    if (event instanceof MessageEvent) {
      transcript.push([event.lastEventId, event.type, event.data]);
    } else {
      breaks += 1; // the browser's own "error" has the name of one of the server's
    }
    waiting = waiting.filter(([type, times, resolve]) => count(type) < times || resolve());
  });
}

function count(type) {
  return type === "break" ? breaks : transcript.filter((entry) => entry[1] === type).length;
}

// Resolves once so many events of this type have come; "break": connections lost.
function until(type, times) {
  return new Promise((resolve) => {
    if (count(type) >= times) resolve();
    else waiting.push([type, times, resolve]);
  });
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  return [answer.status, await answer.json()];
}

function send(text) {
  return post(`/api/sessions/${session}/messages`, { text });
}

function decide(permission, verdict) {
  return post(`/api/permissions/${permission}/${verdict}`, {});
}
