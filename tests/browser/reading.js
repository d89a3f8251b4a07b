// A page that follows a session with fetch: EventSource cannot send a key.
"use strict";

// Returns the events after `last` as [id, type, data], so many or to the end of the turn, and hangs up.
async function read(server, session, key, last, number) {
  const headers = { Accept: "text/event-stream", Authorization: `Bearer ${key}`, "Last-Event-ID": last };
  const answer = await fetch(`${server}/stream?sessionId=${session}`, { headers });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const events = [];
  let text = "";
  while (events.length < number && events.at(-1)?.[1] !== "complete") {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream has ended");
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    events.push(...blocks.map(parsed).filter(([, type]) => type !== "connected" && type !== "heartbeat"));
  }
  await reader.cancel();
  return events.slice(0, number);
}

function parsed(block) {
  const lines = block.split("\n").map((line) => line.split(/: (.*)/s));
  const fields = Object.fromEntries(lines.map(([name, value]) => [name, value]));
  return [fields.id, fields.event, fields.data];
}

async function send(server, session, key, text) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const path = `${server}/api/sessions/${session}/messages`;
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify({ text }) });
  return answer.status;
}
