/**
 * Durability for SDKs and pages that have none: a `fetch` whose bodies do not break.
 *
 *     new OpenAI({ fetch: durable(), ... })
 *
 * What its caller gets from Penstock is one body from beginning to end, through as
 * many connections as it takes; its reader, the SDK, sees no seam.
 *
 * - Only whole frames are let out. After a cut the request is made again, with its
 *   `Idempotency-Key` (one is made up where the caller has none) and where it was
 *   cut off in `Last-Event-ID`; what comes then goes on behind the last whole frame.
 * - Nothing is made again that would be done twice ({@link repeatOf}), and nothing is
 *   skipped in silence: where the server cannot go on, the body errors with {@link CannotGoOn}.
 * - Streams of other servers pass as they are, and so do requests whose body cannot be
 *   sent twice.
 *
 * Works in Node (18 and later), Deno, Bun, workers and browsers. All times are milliseconds.
 */

/**
 * How often and when it is tried again.
 *
 * @typedef {object} Patience
 * @property {number} repeats How often a request is sent again before anything was answered.
 * @property {number} tries Failures in a row, without a new frame between them, that a body bears.
 * @property {number} silence Without a byte for so long, a connection counts as lost: more than two of the
 *   server's keepalives. Time in which nobody reads the body does not count.
 * @property {number} firstByte How long a connection that is to continue a body may take to begin. How long the
 *   first one may, the caller's own signal says.
 * @property {(failures: number, wish?: number, first?: number) => number} pause Says how long to wait, given the
 *   failures in a row, what `Retry-After` asks for, and what an SSE `retry:` says.
 */

/** Why a body cannot go on, and from where. */
export class CannotGoOn extends Error {
  /**
   * @param {string} stream what the server calls the stream
   * @param {string} cursor where its reader stands
   * @param {string} why
   * @param {{ cause?: unknown, status?: number }} [told]
   */
  constructor(stream, cursor, why, { cause, status } = {}) {
    super(`cannot go on with stream ${stream} after ${cursor || "nothing"}: ${why}`, { cause });
    this.name = "CannotGoOn";
    this.stream = stream;
    this.cursor = cursor;
    /** What the server refused with, if it did. */
    this.status = status;
  }
}

/**
 * Return a `fetch` that hides reconnection inside one unbroken body.
 *
 * @param {typeof globalThis.fetch} [fetch] what carries each single request
 * @param {Partial<Patience>} [options]
 * @returns {typeof globalThis.fetch}
 */
export function durable(fetch = globalThis.fetch, options = {}) {
  const patience = { repeats: 2, tries: 8, silence: 45_000, firstByte: 60_000, pause: jittered, ...options };
  return async (input, init) => {
    const asked = await read(input, init ?? {});
    return asked ? new Passage(fetch, asked, patience).answer() : fetch(input, init);
  };
}

const decoder = new TextDecoder();
const LONGEST = 30_000;
/** The longest wish that is honoured, as in openai-python. */
const PATIENCE = 120_000;

/**
 * Return how long to wait: "full jitter" above a floor that keeps the first try from being immediate.
 *
 * @param {number} failures in a row, from 1
 * @param {number} [wish] what the other side asked for
 * @param {number} [first] what the delays grow from
 */
export function jittered(failures, wish, first = 500) {
  if (wish !== undefined && wish >= 0 && wish <= PATIENCE) return wish;
  const floor = first / 2;
  const ceiling = Math.max(floor, Math.min(LONGEST, first * 2 ** Math.min(failures, 16)));
  return floor + Math.random() * (ceiling - floor);
}

// -- what is asked

const KEY = "idempotency-key";
/** What ModelRelay's wire has for a key; its answers begin anew whenever they are asked for again. */
const RELAY_KEY = "x-modelrelay-request-id";
const STREAM = "penstock-stream";
/** Characters of a refusal that an error repeats. */
const SHOWN = 300;

/** How the paths end to which the server takes a key; before it may stand where it is mounted. */
const KEYED = new RegExp(
  "/(?:v1/streams|chat/completions|call(?:/stream)?(?:/[^/]+)?|v3/functions/.+/(?:stream|call)" +
    "|api/sessions(?:/[^/]+/messages)?|responses)$",
);

/** Of a request, what is neither its address, its headers nor its body. */
const MANNERS = /** @type {const} */ ([
  "method", "mode", "credentials", "cache", "redirect", "referrer", "referrerPolicy", "integrity", "keepalive",
]);

/**
 * A request that can be made again.
 *
 * @typedef {object} Asked
 * @property {URL} url
 * @property {RequestInit} init without headers and signal
 * @property {Headers} headers
 * @property {AbortSignal | null | undefined} signal the caller's
 * @property {Request} [request] the caller's: Node's stops following its signal once it is garbage
 * @property {Repeat} repeat
 */

/**
 * How a request is made again.
 *
 * @typedef {object} Repeat
 * @property {boolean} safe whether it may be, when nothing is known of what became of it
 * @property {string[]} keys headers that are to hold its key
 * @property {string} [watch] the body that watches what it has begun, instead of beginning it again
 */

/**
 * Return what `fetch` is asked with these arguments; undefined: it cannot be asked twice.
 *
 * @param {RequestInfo | URL} input
 * @param {RequestInit} init
 * @returns {Promise<Asked | undefined>}
 */
async function read(input, init) {
  const request = input instanceof Request ? input : undefined;
  const method = (init.method ?? request?.method ?? "GET").toUpperCase();
  const url = addressOf(request ? request.url : String(input));
  if (!url || !(method === "GET" || (method === "POST" && KEYED.test(url.pathname)))) return undefined;
  const headers = new Headers(init.headers ?? request?.headers);
  const signal = init.signal === undefined ? request?.signal : init.signal;
  const given = { ...(request && mannersOf(request)), ...init };
  if (request && method === "POST" && init.body == null) given.body = await request.arrayBuffer();
  if (!isWhole(given.body)) return undefined;
  const text = typeof given.body === "string" ? given.body : textOf(given.body);
  return { url, init: given, headers, signal, request, repeat: repeatOf(method, url.pathname, text) };
}

/** @param {string} text */
function addressOf(text) {
  try {
    const url = new URL(text, globalThis.location?.href);
    return url.protocol === "http:" || url.protocol === "https:" ? url : undefined;
  } catch {
    return undefined; // `fetch` itself says what is wrong with it
  }
}

/**
 * @param {Request} request
 * @returns {RequestInit}
 */
function mannersOf(request) {
  return Object.fromEntries(MANNERS.filter((name) => name in request).map((name) => [name, request[name]]));
}

/**
 * Whether a body can be sent twice.
 *
 * @param {BodyInit | null | undefined} body
 */
function isWhole(body) {
  return body == null || typeof body === "string" || body instanceof ArrayBuffer || ArrayBuffer.isView(body) ||
    body instanceof Blob || body instanceof FormData || body instanceof URLSearchParams;
}

/** @param {BodyInit | null | undefined} body */
function textOf(body) {
  return body instanceof ArrayBuffer || ArrayBuffer.isView(body) ? decoder.decode(body) : "";
}

/**
 * Return how a request may be made again.
 *
 * What only reads may be. A `POST` to the paths named above may, as the server takes a second one with its
 * key for the first. A turn of one of orq.ai's tasks would be taken twice; but once it is under way it can be
 * watched, by the same request without its message.
 *
 * @param {string} method
 * @param {string} path
 * @param {string} text the body
 * @returns {Repeat}
 */
function repeatOf(method, path, text) {
  if (method === "GET") return { safe: true, keys: [] };
  const told = membersOf(text);
  const ofAgent = path.includes("/agents/");
  if (told.task_id && ofAgent) {
    const { message, ...watch } = told;
    return { safe: false, keys: [], watch: JSON.stringify(watch) };
  }
  // a key of the caller's own, where an SDK can put one
  if (told.tags?.idempotency_key || told.options?.idempotency_key) return { safe: true, keys: [] };
  return { safe: true, keys: path.endsWith("/responses") && !ofAgent ? [KEY, RELAY_KEY] : [KEY] };
}

/**
 * @param {string} text
 * @returns {Record<string, any>}
 */
function membersOf(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

// -- the way of one request through every cut

/** What happened to a connection that brings no more. */
class Lost extends Error {}

/** One request, and what has come of it so far. */
class Passage {
  #fetch;
  #asked;
  #patience;
  /** Ends with the caller's signal, or when nobody wants the body any more. */
  #life = new AbortController();
  #since;
  /** @type {Splice | undefined} */
  #splice;
  /** The headers of the answer whose body is being continued. */
  #first = new Headers();
  /** @type {Connection | undefined} */
  #connection;
  /** Whether an end of this connection's body can be told from a cut. */
  #vouched = false;
  /** Frames that had been let out when this connection began to bring more; -1: it is the first. */
  #met = -1;
  #ended = false;
  #failures = 0;
  /** Frames that had been let out at the last look. */
  #heard = 0;
  /** @type {() => void} */
  #letGo = () => {};

  /**
   * @param {typeof globalThis.fetch} fetch
   * @param {Asked} asked
   * @param {Patience} patience
   */
  constructor(fetch, asked, patience) {
    this.#fetch = fetch;
    this.#asked = asked;
    this.#patience = patience;
    const { headers, url, repeat } = asked;
    const key = headers.get(KEY) ?? (repeat.keys.length ? keyOf() : "");
    for (const name of repeat.keys) if (!headers.has(name)) headers.set(name, key);
    this.#since = url.searchParams.get("cursor") || headers.get("last-event-id") || "";
  }

  /**
   * Return the answer. Throws: what `fetch` throws.
   *
   * @returns {Promise<Response>}
   */
  async answer() {
    this.#obey(this.#asked.signal);
    try {
      const { response, connection } = await this.#next();
      if (!this.#opens(response)) {
        return response;
      }
      this.#connection = connection;
      return this.#whole(response);
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  /** @param {AbortSignal | null | undefined} signal */
  #obey(signal) {
    if (!signal) return;
    const abort = () => this.#life.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    this.#letGo = () => signal.removeEventListener("abort", abort);
  }

  /**
   * Return the next answer that is worth a look, after waiting so long.
   *
   * @param {number} [wait]
   */
  async #next(wait) {
    for (;;) {
      if (wait) await sleep(wait, this.#life.signal);
      const connection = new Connection(this.#life.signal);
      try {
        const response = await connection.head((signal) => this.#ask(signal), this.#limit());
        wait = this.#refused(response);
        if (wait === undefined) return { response, connection };
        connection.close();
      } catch (error) {
        connection.close();
        wait = this.#lost(error);
      }
    }
  }

  #limit() {
    return this.#splice ? this.#patience.firstByte : Infinity;
  }

  /** @param {AbortSignal} signal */
  #ask(signal) {
    const { url, init, headers, repeat } = this.#asked;
    const splice = this.#splice;
    const again = new Headers(headers);
    let { body } = init;
    const there = new URL(url);
    if (splice) {
      if (splice.cursor) again.set("last-event-id", splice.cursor);
      // where the address says a cursor, the header is not looked at
      if (url.searchParams.get("cursor")) there.searchParams.set("cursor", splice.cursor);
      body = repeat.watch ?? body;
    }
    return this.#fetch(there.href, { ...init, headers: again, body, signal });
  }

  /**
   * Return how long to wait before trying again. Throws: what the reader is to see.
   *
   * @param {unknown} error
   */
  #lost(error) {
    const splice = this.#splice;
    this.#life.signal.throwIfAborted();
    if (splice ? splice.broken : !this.#asked.repeat.safe) throw error;
    splice?.cut();
    if (this.#anotherFailure()) return this.#patience.pause(this.#failures, undefined, splice?.retry);
    if (!splice) throw error;
    throw this.#broken(`${this.#failures} tries in a row have failed, the last with: ${error}`, { cause: error });
  }

  /** Count one, and return whether it is to be borne. */
  #anotherFailure() {
    const heard = this.#splice?.heard ?? 0;
    if (heard > this.#heard) {
      this.#heard = heard;
      this.#failures = 0;
    }
    this.#failures += 1;
    return this.#failures <= (this.#splice ? this.#patience.tries : this.#patience.repeats);
  }

  /**
   * Return how long to wait before trying again; undefined: this is the answer.
   *
   * @param {Response} response
   */
  #refused({ status, headers }) {
    const passing = this.#splice
      ? status === 408 || status === 429 || status >= 500
      : this.#asked.repeat.safe && (status === 429 || status >= 500) && headers.get("x-should-retry") !== "false";
    if (!passing || !this.#anotherFailure()) return undefined;
    return this.#patience.pause(this.#failures, wishOf(headers), this.#splice?.retry);
  }

  // -- the body

  /**
   * Whether an answer is a body that this is to keep whole.
   *
   * @param {Response} response
   */
  #opens({ ok, headers, body }) {
    const { safe, watch } = this.#asked.repeat;
    const type = headers.get("content-type") ?? "";
    const streams = /^(?:text\/event-stream|application\/(?:x-)?ndjson)/i.test(type) && headers.has(STREAM);
    if (!((safe || watch) && streams && ok && typeof body?.getReader === "function")) return false;
    this.#splice = new Splice(/ndjson/i.test(type), this.#since, headers.has(RELAY_KEY));
    this.#first = headers;
    this.#failures = 0;
    this.#begin(headers, -1);
    return true;
  }

  /**
   * @param {Headers} headers
   * @param {number} met
   */
  #begin(headers, met) {
    this.#met = met;
    this.#vouched = headers.has("transfer-encoding") || headers.has("content-length");
  }

  /**
   * Return the first answer, with a body out of many connections'.
   *
   * @param {Response} first
   */
  #whole(first) {
    const stop = (/** @type {unknown} */ reason) => {
      this.#letGo();
      this.#life.abort(reason);
    };
    const body = new ReadableStream(
      {
        start: (controller) => {
          // at once, even while nobody reads
          this.#life.signal.addEventListener("abort", () => controller.error(this.#life.signal.reason), { once: true });
        },
        pull: async (controller) => {
          try {
            const said = await this.#more();
            if (said) return controller.enqueue(said);
            this.#letGo();
            this.#connection?.release();
            controller.close();
          } catch (error) {
            controller.error(error);
            stop(error);
          }
        },
        cancel: stop,
      },
      { highWaterMark: 0 },
    );
    const { status, statusText, headers, url, redirected } = first;
    const response = new Response(body, { status, statusText, headers });
    return Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
  }

  /** Return what is next of the body; undefined: it has ended. */
  async #more() {
    if (this.#ended) return undefined;
    const splice = /** @type {Splice} */ (this.#splice);
    for (;;) {
      try {
        for (let data; (data = await this.#connection?.read(this.#patience.silence)); ) {
          const said = splice.feed(data);
          if (said.length) return said;
        }
        return this.#end(splice);
      } catch (error) {
        this.#connection?.close();
        await this.#resume(this.#lost(error));
      }
    }
  }

  /**
   * What a connection's end without a fault means: the rest of the body, or undefined.
   *
   * In browsers nothing in the head says how an end would look. There, an end behind the last word of an
   * answer is one, and so is one that comes again where nothing new does.
   *
   * @param {Splice} splice
   */
  #end(splice) {
    const whole = splice.over || (splice.heard === this.#met && !splice.torn);
    if (!this.#vouched && !whole) throw new Lost("the connection was closed, which may be an end or a cut");
    this.#ended = true;
    const rest = splice.end();
    return rest.length ? rest : undefined;
  }

  /**
   * Find a connection that continues the body. Throws: CannotGoOn.
   *
   * @param {number} wait
   */
  async #resume(wait) {
    const { response, connection } = await this.#next(wait);
    const same = [STREAM, "content-type"].every((name) => response.headers.get(name) === this.#first.get(name));
    if (!same || !response.ok || !response.body) {
      const error = await this.#refusal(response, connection);
      connection.close();
      throw error;
    }
    this.#begin(response.headers, /** @type {Splice} */ (this.#splice).heard);
    this.#connection = connection;
  }

  /**
   * Return the error for an answer that does not continue the body.
   *
   * @param {Response} response
   * @param {Connection} connection
   */
  async #refusal({ ok, status, headers }, connection) {
    if (ok) return this.#broken(`the server answered with something else: ${headers.get(STREAM) ?? "no stream"}`);
    const said = await connection.read(this.#patience.silence).catch(() => NOTHING);
    return this.#broken(`the server answered ${status}: ${decoder.decode(said).slice(0, SHOWN)}`, { status });
  }

  /**
   * @param {string} why
   * @param {{ cause?: unknown, status?: number }} [told]
   */
  #broken(why, told) {
    return new CannotGoOn(this.#first.get(STREAM) ?? "", this.#splice?.cursor ?? "", why, told);
  }
}

/** One connection: its head, and its body piece by piece. It closes with the passage's life. */
class Connection {
  #life;
  #closing = new AbortController();
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #reader;
  /** @type {Response | undefined} */
  #response;
  #abort = () => this.close();

  /** @param {AbortSignal} life */
  constructor(life) {
    this.#life = life;
    life.addEventListener("abort", this.#abort);
  }

  /**
   * Return the answer. Throws: Lost, if it takes longer than `limit`; what `ask` throws.
   *
   * @param {(signal: AbortSignal) => Promise<Response>} ask
   * @param {number} limit
   */
  async head(ask, limit) {
    this.#life.throwIfAborted();
    const alarm = this.#alarm(limit);
    try {
      this.#response = await ask(this.#closing.signal);
    } finally {
      clearTimeout(alarm.timer);
      if (alarm.rang) throw new Lost(`nothing was answered for ${limit} ms`);
    }
    if (this.#closing.signal.aborted) this.close();
    this.#life.throwIfAborted();
    return this.#response;
  }

  /**
   * Return the next piece; undefined: there are no more. Throws: Lost, if it takes longer than `limit`.
   *
   * @param {number} limit
   */
  async read(limit) {
    this.#reader ??= /** @type {Response} */ (this.#response).body?.getReader();
    const alarm = this.#alarm(limit);
    try {
      const { done, value } = (await this.#reader?.read()) ?? { done: true, value: undefined };
      this.#life.throwIfAborted();
      return done ? undefined : value;
    } finally {
      clearTimeout(alarm.timer);
      if (alarm.rang) throw new Lost(`nothing came for ${limit} ms`);
    }
  }

  /** @param {number} limit */
  #alarm(limit) {
    /** @type {{ rang: boolean, timer?: ReturnType<typeof setTimeout> }} */
    const alarm = { rang: false };
    if (limit < 2 ** 31) {
      alarm.timer = setTimeout(() => {
        alarm.rang = true;
        this.close();
      }, limit);
    }
    return alarm;
  }

  /** Let others have it. */
  release() {
    this.#life.removeEventListener("abort", this.#abort);
  }

  /** Close it, at once. */
  close() {
    this.release();
    this.#closing.abort();
    const body = this.#reader ?? this.#response?.body;
    body?.cancel().catch(() => {}); // it has failed already
  }
}

/**
 * @param {number} time
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function sleep(time, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, time);
    signal.addEventListener("abort", abort);
  });
}

/** What `Retry-After` asks for. @param {Headers} headers */
function wishOf(headers) {
  const text = headers.get("retry-after") ?? "";
  const wish = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(wish) ? undefined : Math.max(0, wish);
}

/** A key need only be one that nobody has used; pages that came over plain HTTP have no `randomUUID`. */
function keyOf() {
  const uuid = globalThis.crypto?.randomUUID?.();
  return uuid ?? Array.from({ length: 4 }, () => Math.random().toString(36).slice(2)).join("");
}

// -- one body out of the bodies of many connections: bytes in, bytes out

const LF = 10;
const CR = 13;
const NOTHING = new Uint8Array();

/** Lines that are no records: the native wire's, and those of both generations of ModelRelay's. */
const KEEPALIVES = ["", '{"type":"keepalive"}', '{"event":"keepalive"}'];
/** What the last frame of an answer says, as far as it always does. */
const OVER = /^\[DONE\]$|^\{(?:[^{}]*,)?"type":"response\.(?:done|failed)"/;
/**
 * How frames begin after which the server breaks the connection on purpose, because callers of these SDKs
 * (Opper's, ModelRelay's first) could not see the failure otherwise.
 */
const LAST_WORDS = /^\{"chunk_type":"error"|^\{"event":"message_stop","stop_reason":"error"/;

/**
 * Lets whole frames out, each of them once.
 *
 * What counts as a frame is what the server's encoders count: a block with data, the last `[DONE]` too, or a
 * line that is no keepalive. Comments and keepalives pass, and are counted nowhere. A frame says where its
 * reader stands: by its id, in NDJSON its `cursor`; where frames have none, it is their number. Two wires of
 * Penstock's take no such number back, and begin again instead; there, as many frames as were had are dropped.
 */
class Splice {
  /** Frames let out so far. */
  heard = 0;
  /** Whether the last frame says that the answer is over. */
  over = false;
  /** Whether the last frame is one after which the server breaks the connection on purpose. */
  broken = false;
  /** The server's wish for reconnecting. @type {number | undefined} */
  retry;
  #lines;
  #since;
  #startsOver;
  #ends;
  /** What is not whole yet. @type {Uint8Array[]} */
  #rest = [];
  #id = "";
  /** The cursor at which this connection began: frames that bear it say nothing new. */
  #met = "";
  #drop = 0;

  /**
   * @param {boolean} lines whether it is NDJSON
   * @param {string} since where the caller said it stands when it asked
   * @param {boolean} startsOver whether a repeated request begins where the first one began, whatever it says
   */
  constructor(lines, since, startsOver) {
    this.#lines = lines;
    /** Where the reader stands: what `Last-Event-ID` is to say next. */
    this.cursor = since;
    this.#since = since;
    this.#startsOver = startsOver;
    this.#ends = lines ? lineEnds() : blockEnds();
  }

  /** Whether there is something that is not whole. */
  get torn() {
    return this.#rest.length > 0;
  }

  /**
   * Take what has arrived, and return what is whole of it.
   *
   * @param {Uint8Array} data
   */
  feed(data) {
    const out = [];
    let from = 0;
    for (const end of this.#ends(data)) {
      const piece = joined([...this.#rest, data.subarray(from, end)]);
      this.#rest = [];
      from = end;
      if (this.#isNew(piece)) out.push(piece);
    }
    if (from < data.length) this.#rest.push(data.subarray(from));
    return joined(out);
  }

  /** The body has come to its end: return the rest of it. */
  end() {
    const rest = joined(this.#rest);
    this.#rest = [];
    return rest.length && this.#isNew(rest) ? rest : NOTHING;
  }

  /** The connection was lost: forget what is not whole, and be ready for the next. */
  cut() {
    this.#rest = [];
    this.#id = "";
    this.#ends = this.#lines ? lineEnds() : blockEnds();
    if (this.#startsOver) {
      this.cursor = this.#since;
      this.#drop = this.heard;
    } else {
      this.#met = this.cursor;
    }
  }

  /** @param {Uint8Array} piece */
  #isNew(piece) {
    const text = decoder.decode(piece);
    const frame = this.#lines ? this.#line(text) : this.#block(text);
    if (!frame) return true;
    const { cursor, data } = frame;
    if (this.#drop) {
      this.#drop -= 1;
      return false;
    }
    if (cursor && cursor === this.#met) return false;
    this.heard += 1;
    this.cursor = cursor || String((/^\d+$/.test(this.#since) ? Number(this.#since) : 0) + this.heard);
    this.over = OVER.test(data);
    this.broken = LAST_WORDS.test(data);
    return true;
  }

  /** @param {string} text */
  #block(text) {
    /** @type {string[]} */
    const data = [];
    for (const line of text.split(/\r\n|\n|\r/)) {
      const [, name, value] = /** @type {RegExpMatchArray} */ (line.match(/^([^:]*)(?:: ?)?(.*)$/s));
      if (name === "data") data.push(value);
      else if (name === "id" && !value.includes("\0")) this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    }
    return data.length ? { cursor: this.#id, data: data.join("\n") } : undefined;
  }

  /** @param {string} text */
  #line(text) {
    const data = text.trim();
    if (KEEPALIVES.includes(data)) return undefined;
    const { cursor } = membersOf(data);
    if (typeof cursor === "string" && cursor) return { cursor, data };
    this.#startsOver = true;
    return { cursor: "", data };
  }
}

/** Return what finds the ends of lines, in pieces of a body. */
function lineEnds() {
  return (/** @type {Uint8Array} */ data) => {
    const ends = [];
    for (let at = data.indexOf(LF); at >= 0; at = data.indexOf(LF, at + 1)) ends.push(at + 1);
    return ends;
  };
}

/**
 * Return what finds the ends of SSE blocks: empty lines, behind LF, CR or both.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
function blockEnds() {
  let empty = true; // the line, so far
  let afterCr = false;
  let pairs = false; // the last line ended in both: an empty one's CR is not yet its end
  let open = false; // an empty line has ended in CR, and its LF may follow
  return (/** @type {Uint8Array} */ data) => {
    /** @type {number[]} */
    const ends = [];
    for (let at = 0; at < data.length; at += 1) {
      const byte = data[at];
      if (byte === LF && afterCr) {
        pairs = true;
        afterCr = false;
        if (open) ends.push(at + 1);
        open = false;
        continue;
      }
      if (open) ends.push(at); // there was none
      open = false;
      if (byte === CR || byte === LF) {
        if (empty && byte === CR && pairs) open = true;
        else if (empty) ends.push(at + 1);
        pairs = false; // until its LF has come
        empty = true;
      } else {
        empty = false;
      }
      afterCr = byte === CR;
    }
    return ends;
  };
}

/** @param {Uint8Array[]} pieces */
function joined(pieces) {
  if (pieces.length < 2) return pieces[0] ?? NOTHING;
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
