// What durable() does to a request, to a body and to their ends, against a `fetch` that is a table of frames.
// Nothing is waited for but what the test has told to happen: pauses are 0.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CannotGoOn, durable, jittered } from "./durable-fetch.js";

const URL_OF_ANY = "http://penstock.test/v1/chat/completions";
const ASKED = { method: "POST", body: '{"stream":true}' };
const encoder = new TextEncoder();
const text = (bytes) => new TextDecoder().decode(bytes);
const at_once = { pause: () => 0, repeats: 8 };

/** A `fetch` that answers request n with `answers(n, request)`, and remembers the requests. */
function served(answers) {
  const requests = [];
  const fetch = async (url, init) => {
    requests.push({ url, ...init, headers: Object.fromEntries(new Headers(init.headers)) });
    return answers(requests.length - 1, requests.at(-1));
  };
  return Object.assign(fetch, { requests });
}

/** A response whose body is `pieces`; then it ends, breaks or hangs. `vouched`: an end is none of a cut. */
function response(pieces, { end = "close", type = "text/event-stream", headers = {}, vouched = true, seen } = {}) {
  const chunked = vouched ? { "transfer-encoding": "chunked" } : {};
  const left = [...pieces];
  const body = new ReadableStream(
    {
      pull(controller) {
        if (left.length) controller.enqueue(left.shift());
        else if (end === "close") controller.close();
        else if (end === "break") controller.error(new TypeError("terminated"));
        else return new Promise(() => {});
      },
      cancel: () => seen?.push("cancelled"),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": type, "penstock-stream": "st_1", ...chunked, ...headers } });
}

/** What a server has to say: frames, and how far one that has a cursor stands. */
function spoken(frames, { over = false } = {}) {
  const blocks = frames.map((frame) => encoder.encode(frame));
  const ids = frames.map((frame) => /^id: (.*?)[\r\n]/m.exec(frame)?.[1] ?? /^\{"cursor":"(.*?)"/.exec(frame)?.[1]);
  return (cursor) => {
    const from = over || !cursor ? 0 : ids.includes(cursor) ? ids.indexOf(cursor) + 1 : Number(cursor);
    assert(Number.isInteger(from) && from <= blocks.length, `an unknown cursor: ${cursor}`);
    return new Uint8Array(Buffer.concat(blocks.slice(from)));
  };
}

/** Serve that, each connection cut after as many bytes as the list says, the last one whole. */
function cutting(say, cuts, { size = Infinity, end = "break", ...options } = {}) {
  return served((n, { headers }) => {
    const whole = say(headers["last-event-id"]);
    const cut = n < cuts.length ? cuts[n] : whole.length;
    const bytes = whole.subarray(0, cut);
    const step = Math.min(size, bytes.length || 1);
    const pieces = Array.from({ length: Math.ceil(bytes.length / step) }, (_, k) =>
      bytes.slice(k * step, (k + 1) * step),
    );
    return response(pieces, { ...options, end: n < cuts.length ? end : "close" });
  });
}

async function bodyOf(fetch, options = at_once, url = URL_OF_ANY, init = ASKED) {
  return text(await (await durable(fetch, options)(url, init)).arrayBuffer());
}

// -- bodies

const recorded = (name) => readFileSync(new URL(`../cases/${name}`, import.meta.url), "utf8");
const blocks = (body, end = "\n\n") => body.split(end).filter(Boolean).map((block) => block + end);
const ends = (frames, eol) => frames.map((frame) => frame.replaceAll("\n", eol));

const CHAT = blocks(recorded("openai-chat/mistral-text.sse")).slice(-5);
const MIX = blocks(recorded("mix/agent.sse")).slice(0, 8);
const NATIVE = Array.from(
  { length: 8 },
  (_, n) => `{"cursor":"7f.${n}","at":1,"type":"part.delta","part_id":"p1","delta":"${"🌊流é".repeat(n % 3)}"}\n`,
);
const RELAY = Array.from({ length: 8 }, (_, n) => `{"type":"update","payload":{"content":"${"流".repeat(n)}"}}\n`);
const NDJSON = "application/x-ndjson";
const BODIES = {
  "without ids": [CHAT],
  "without ids, CRLF": [ends(CHAT, "\r\n")],
  "without ids, CR": [ends(CHAT, "\r")],
  "with ids": [MIX],
  "with ids, CRLF": [ends(MIX, "\r\n")],
  "of other scripts": [NATIVE.map((line) => `data: ${line}\n`)],
  "lines with cursors": [NATIVE, { type: NDJSON }],
  "lines that begin anew": [RELAY, { type: NDJSON, over: true }],
};

describe("a body that is cut", () => {
  for (const [name, [frames, options = {}]] of Object.entries(BODIES)) {
    const say = spoken(frames, options);
    const whole = frames.join("");
    it(`at every byte, ${name}`, async () => {
      const length = say().length;
      for (let cut = 0; cut < length; cut += 1) {
        const fetch = cutting(say, [cut], options);
        assert.equal(await bodyOf(fetch), whole, `cut after ${cut} bytes`);
        assert.equal(fetch.requests.length, 2);
      }
    });
    it(`again and again, byte by byte, ${name}`, async () => {
      const longest = Math.max(...frames.map((frame) => encoder.encode(frame).length));
      const cuts = frames.map((_, n) => longest * (options.over ? n + 1 : 1) + n);
      const fetch = cutting(say, cuts, { size: 1, ...options });
      assert.equal(await bodyOf(fetch), whole);
      assert(fetch.requests.length > 4);
      const places = fetch.requests.slice(1).map(({ headers }) => headers["last-event-id"]);
      assert.equal(new Set(places).size, options.over ? 1 : places.length, "each connection brought more");
    });
  }

  it("ends without a word where nothing tells an end from a cut", async () => {
    const frames = ['data: {"a":1}\n\n', 'data: {"a":2}\n\n', "data: [DONE]\n\n"];
    const say = spoken(frames);
    for (let cut = 0; cut < say().length; cut += 1) {
      const fetch = cutting(say, [cut], { vouched: false, end: "close" });
      assert.equal(await bodyOf(fetch), frames.join(""), `cut after ${cut} bytes`);
      assert.equal(fetch.requests.length, 2);
    }
  });

  it("without a last word is asked for once more where nothing tells an end from a cut", async () => {
    const frames = ['data: {"a":1}\n\n', 'data: {"a":2}\n\n'];
    const fetch = cutting(spoken(frames), [], { vouched: false });
    assert.equal(await bodyOf(fetch), frames.join(""));
    assert.deepEqual(fetch.requests.map(({ headers }) => headers["last-event-id"]), [undefined, "2"]);
  });

  it("is whole after the last word of the native wire", async () => {
    const last = '{"cursor":"7f.9","at":1,"type":"response.done","finish_reason":"stop"}\n';
    const fetch = cutting(spoken([...NATIVE, last]), [], { vouched: false, type: NDJSON });
    assert.equal(await bodyOf(fetch), NATIVE.join("") + last);
    assert.equal(fetch.requests.length, 1);
  });

  it("counts neither comments nor keepalives", async () => {
    const answers = [": ka\n\ndata: a\n\n: ka\n: ka\ndata: b\n\n: ka\n", ": ka\n\n: ka\ndata: c\n\n"];
    const fetch = served((n) => response([encoder.encode(answers[n])], { end: n ? "close" : "break" }));
    assert.deepEqual((await bodyOf(fetch)).match(/data: ./g), ["data: a", "data: b", "data: c"]);
    assert.equal(fetch.requests[1].headers["last-event-id"], "2");
    const lines = ['\n{"type":"keepalive"}\n{"x":1}\n{"event":"keepalive"}\n', '\n{"x":1}\n\n{"x":2}\n'];
    const relayed = served((n) => response([encoder.encode(lines[n])], { end: n ? "close" : "break", type: NDJSON }));
    assert.deepEqual((await bodyOf(relayed)).match(/"x":./g), ['"x":1', '"x":2']);
  });

  it("drops what says again where the reader stands", async () => {
    const answers = ["id: e.1\ndata: a\n\n", "id: e.1\nevent: connected\ndata: hello\n\nid: e.2\ndata: b\n\n"];
    const fetch = served((n) => response([encoder.encode(answers[n])], { end: n ? "close" : "break" }));
    assert.equal(await bodyOf(fetch), "id: e.1\ndata: a\n\nid: e.2\ndata: b\n\n");
  });

  it("goes on from where the caller said it stands", async () => {
    const fetch = cutting(spoken(CHAT), [400]);
    const init = { ...ASKED, headers: { "Last-Event-ID": "1" } };
    assert.equal(await bodyOf(fetch, at_once, URL_OF_ANY, init), CHAT.slice(1).join(""));
    const got = served((n) => response([encoder.encode("data: a\n\n")], { end: n ? "close" : "break" }));
    await bodyOf(got, at_once, "http://penstock.test/v1/streams/st_1/events?cursor=7", {});
    assert(got.requests[1].url.endsWith("?cursor=8"));
  });

  it("lets the server's own break through behind its error", async () => {
    const said = 'data: {"chunk_type":"error","error_type":"x"}\n\n';
    const fetch = served(() => response([encoder.encode(said)], { end: "break" }));
    await assert.rejects(bodyOf(fetch), /terminated/);
    assert.equal(fetch.requests.length, 1);
  });
});

// -- requests

describe("a request", () => {
  const broken = (n) => response([encoder.encode("data: a\n\n")], { end: n ? "close" : "break" });

  it("has one key through all its tries", async () => {
    const fetch = served(broken);
    await bodyOf(fetch);
    const [first, second] = fetch.requests.map(({ headers }) => headers["idempotency-key"]);
    assert.match(first, /^[0-9a-f-]{36}$/);
    assert.equal(second, first);
    assert.equal(fetch.requests[1].body, ASKED.body);
    const other = served(broken);
    await bodyOf(other);
    assert.notEqual(other.requests[0].headers["idempotency-key"], first);
  });

  it("keeps the caller's key, wherever it is", async () => {
    const headers = { "Idempotency-Key": "mine" };
    const fetch = served(broken);
    await bodyOf(fetch, at_once, URL_OF_ANY, { ...ASKED, headers });
    assert.deepEqual(fetch.requests.map((request) => request.headers["idempotency-key"]), ["mine", "mine"]);
    const relayed = served(broken);
    const named = { "X-ModelRelay-Request-Id": "mine" };
    await bodyOf(relayed, at_once, "http://penstock.test/api/v1/responses", { ...ASKED, headers: named });
    assert.equal(relayed.requests[1].headers["x-modelrelay-request-id"], "mine");
    const tagged = served(broken);
    const body = '{"tags":{"idempotency_key":"mine"}}';
    await bodyOf(tagged, at_once, URL_OF_ANY, { method: "POST", body });
    assert(!("idempotency-key" in tagged.requests[0].headers));
  });

  it("may be a Request", async () => {
    const fetch = served(broken);
    await bodyOf(fetch, at_once, new Request(URL_OF_ANY, { ...ASKED, headers: { "X-Of": "mine" } }), null);
    for (const { method, headers, body, url } of fetch.requests) {
      assert.deepEqual([method, headers["x-of"], text(body), url], ["POST", "mine", ASKED.body, URL_OF_ANY]);
    }
  });

  it("that would be done twice passes as it is", async () => {
    const streamed = { method: "POST", body: new ReadableStream(), duplex: "half" };
    const others = [
      [URL_OF_ANY, streamed],
      ["http://penstock.test/v1/streams/st_1/stop", ASKED],
      [URL_OF_ANY, { method: "PUT", body: "{}" }],
    ];
    for (const [url, init] of others) {
      const fetch = served(broken);
      await assert.rejects(bodyOf(fetch, at_once, url, init), /terminated/);
      assert.equal(fetch.requests.length, 1);
      assert.equal(fetch.requests[0].headers["idempotency-key"], undefined);
    }
  });

  it("whose answer is no stream of Penstock's has its answer as it is", async () => {
    const foreign = new Response("data: a", { headers: { "content-type": "text/event-stream" } });
    assert.equal(await durable(served(() => foreign))(URL_OF_ANY, ASKED), foreign);
  });

  it("for a turn of a task is not made twice, but watched", async () => {
    const url = "http://penstock.test/v2/agents/a/responses";
    const init = { method: "POST", body: '{"task_id":"t","message":{"role":"user"},"stream":true}' };
    const fetch = served(broken);
    await bodyOf(fetch, at_once, url, init);
    assert.deepEqual(fetch.requests.map(({ body }) => body), [init.body, '{"task_id":"t","stream":true}']);
    const refused = served(() => Promise.reject(new TypeError("fetch failed")));
    await assert.rejects(bodyOf(refused, at_once, url, init), /fetch failed/);
    assert.equal(refused.requests.length, 1);
  });

  it("is made again until it is answered, as often as it may", async () => {
    const busy = () => new Response("", { status: 503, headers: { "retry-after": "3" } });
    const waits = [];
    const pause = (...told) => (waits.push(told), 0);
    const answers = [() => Promise.reject(new TypeError("fetch failed")), busy, () => response([])];
    assert.equal(await bodyOf(served((n) => answers[n]()), { pause, repeats: 2 }), "");
    assert.deepEqual(waits, [[1, undefined, undefined], [2, 3000, undefined]]);
    const fetch = served(busy);
    assert.equal((await durable(fetch, { pause, repeats: 2 })(URL_OF_ANY, ASKED)).status, 503);
    assert.equal(fetch.requests.length, 3);
    const final = served(() => new Response("", { status: 502, headers: { "x-should-retry": "false" } }));
    assert.equal((await durable(final, at_once)(URL_OF_ANY, ASKED)).status, 502);
    assert.equal(final.requests.length, 1);
  });
});

// -- ends

describe("a body", () => {
  const begun = () => response([encoder.encode("retry: 40\ndata: a\n\n")], { end: "break" });

  it("that cannot go on says why", async () => {
    const gone = () => new Response("cursor_gone", { status: 410 });
    const fetch = served((n) => (n ? gone() : begun()));
    await assert.rejects(bodyOf(fetch), (error) => {
      assert(error instanceof CannotGoOn);
      assert.equal(error.message, "cannot go on with stream st_1 after 1: the server answered 410: cursor_gone");
      assert.deepEqual([error.status, error.cursor, error.stream], [410, "1", "st_1"]);
      return true;
    });
    const other = served((n) => (n ? response([], { headers: { "penstock-stream": "st_2" } }) : begun()));
    await assert.rejects(bodyOf(other), /something else: st_2/);
    assert.equal(other.requests.length, 2);
  });

  it("bears as many failures in a row as it may, and counts anew after each frame", async () => {
    const waits = [];
    const pause = (...told) => (waits.push(told), 0);
    const busy = () => new Response("", { status: 429, headers: { "retry-after": "7" } });
    const lost = () => Promise.reject(new TypeError("fetch failed"));
    const fetch = served((n) => [begun, lost, busy, begun][n]?.() ?? lost());
    await assert.rejects(bodyOf(fetch, { pause, tries: 3 }), /4 tries in a row have failed.*fetch failed/);
    const numbers = [[1, undefined], [2, undefined], [3, 7000], [1, undefined], [2, undefined], [3, undefined]];
    assert.deepEqual(waits, numbers.map((told) => [...told, 40]));
  });

  it("that is silent for too long is lost, and so is an answer that does not begin", async () => {
    const seen = [];
    const fetch = served((n, { signal }) => {
      if (n === 0) return response([encoder.encode("data: a\n\n")], { end: "hang", seen });
      if (n > 1) return response([encoder.encode("data: b\n\n")]);
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    const vouched = { ...at_once, silence: 5, firstByte: 5 };
    const answer = await durable(fetch, vouched)(URL_OF_ANY, ASKED);
    const reader = answer.body.getReader();
    assert.equal(text((await reader.read()).value), "data: a\n\n");
    assert.equal(text((await reader.read()).value), "data: b\n\n");
    assert.deepEqual(seen, ["cancelled"]);
    assert.equal(fetch.requests.length, 3);
    assert(fetch.requests[1].signal.aborted);
  });

  it("that is cancelled closes its connection", async () => {
    const seen = [];
    const fetch = served(() => response([encoder.encode("data: a\n\n")], { end: "hang", seen }));
    for await (const _ of (await durable(fetch)(URL_OF_ANY, ASKED)).body) break;
    assert.deepEqual(seen, ["cancelled"]);
    assert(fetch.requests[0].signal.aborted);
  });

  it("that is cancelled or aborted between two tries is not asked for again", async () => {
    for (const how of ["cancel", "abort"]) {
      let reader;
      const aborting = new AbortController();
      const why = new Error("enough");
      const pause = () => {
        queueMicrotask(() => (how === "abort" ? aborting.abort(why) : reader.cancel()));
        return 2 ** 30;
      };
      const fetch = served(begun);
      const answer = await durable(fetch, { pause })(URL_OF_ANY, { ...ASKED, signal: aborting.signal });
      reader = answer.body.getReader();
      await reader.read();
      if (how === "abort") await assert.rejects(reader.read(), why);
      else assert.equal((await reader.read()).done, true);
      assert.equal(fetch.requests.length, 1);
    }
  });

  it("that is aborted errors at once, read or not, before its head too", async () => {
    const aborting = new AbortController();
    const seen = [];
    const fetch = served(() => response([encoder.encode("data: a\n\n")], { end: "hang", seen }));
    const answer = await durable(fetch)(URL_OF_ANY, { ...ASKED, signal: aborting.signal });
    const { closed } = answer.body.getReader();
    aborting.abort(new Error("enough"));
    assert.deepEqual(seen, ["cancelled"]);
    await assert.rejects(closed, /enough/);
    const late = served((_, { signal }) => {
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    const again = new AbortController();
    const asked = durable(late)(new Request(URL_OF_ANY, { ...ASKED, signal: again.signal }));
    setImmediate(() => again.abort());
    await assert.rejects(asked, { name: "AbortError" });
    await assert.rejects(durable(late)(URL_OF_ANY, { ...ASKED, signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.equal(late.requests.length, 1);
  });

  it("that was asked for with a Request can be aborted when that is garbage", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc");
    const aborting = new AbortController();
    const fetch = served(() => response([encoder.encode("data: a\n\n")], { end: "hang" }));
    const answer = await durable(fetch)(new Request(URL_OF_ANY, { ...ASKED, signal: aborting.signal }));
    const { closed } = answer.body.getReader();
    for (let n = 0; n < 3; n += 1) {
      await new Promise(setImmediate);
      collect();
    }
    const over = assert.rejects(closed, { name: "AbortError" });
    aborting.abort();
    assert(fetch.requests[0].signal.aborted);
    await over;
  });

  it("is asked for no more than its reader takes", async () => {
    let pulls = 0;
    const endless = new ReadableStream(
      { pull: (controller) => (pulls++, controller.enqueue(encoder.encode("data: a\n\n"))) },
      { highWaterMark: 0 },
    );
    const headers = { "content-type": "text/event-stream", "penstock-stream": "st_1" };
    const answer = await durable(served(() => new Response(endless, { headers })))(URL_OF_ANY, ASKED);
    await new Promise(setImmediate);
    assert.equal(pulls, 0);
    const reader = answer.body.getReader();
    await reader.read();
    await reader.read();
    await new Promise(setImmediate);
    assert.equal(pulls, 2);
    await reader.cancel();
  });
});

describe("a pause", () => {
  it("grows from the first to the longest, and honours wishes that are not too long", () => {
    for (let failures = 1; failures < 40; failures += 1) {
      const [wait, longest] = [jittered(failures), Math.min(30_000, 500 * 2 ** failures)];
      assert(wait >= 250 && wait < longest);
      assert(jittered(failures, undefined, 100_000) === 50_000);
    }
    assert.equal(jittered(1, 7000), 7000);
    assert(jittered(1, 130_000) < 1000);
  });
});
