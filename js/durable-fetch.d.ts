/**
 * Return a `fetch` that hides reconnection inside one unbroken body.
 *
 * @param {typeof globalThis.fetch} [fetch] what carries each single request
 * @param {Partial<Patience>} [options]
 * @returns {typeof globalThis.fetch}
 */
export function durable(fetch?: typeof globalThis.fetch, options?: Partial<Patience>): typeof globalThis.fetch;
/**
 * Return how long to wait: "full jitter" above a floor that keeps the first try from being immediate.
 *
 * @param {number} failures in a row, from 1
 * @param {number} [wish] what the other side asked for
 * @param {number} [first] what the delays grow from
 */
export function jittered(failures: number, wish?: number, first?: number): number;
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
    constructor(stream: string, cursor: string, why: string, { cause, status }?: {
        cause?: unknown;
        status?: number;
    });
    stream: string;
    cursor: string;
    /** What the server refused with, if it did. */
    status: number | undefined;
}
/**
 * A request that can be made again.
 */
export type Asked = {
    url: URL;
    /**
     * without headers and signal
     */
    init: RequestInit;
    headers: Headers;
    /**
     * the caller's
     */
    signal: AbortSignal | null | undefined;
    /**
     * the caller's: Node's stops following its signal once it is garbage
     */
    request?: Request | undefined;
    repeat: Repeat;
};
/**
 * How a request is made again.
 */
export type Repeat = {
    /**
     * whether it may be, when nothing is known of what became of it
     */
    safe: boolean;
    /**
     * headers that are to hold its key
     */
    keys: string[];
    /**
     * the body that watches what it has begun, instead of beginning it again
     */
    watch?: string | undefined;
};
/**
 * How often and when it is tried again.
 */
export type Patience = {
    /**
     * How often a request is sent again before anything was answered.
     */
    repeats: number;
    /**
     * Failures in a row, without a new frame between them, that a body bears.
     */
    tries: number;
    /**
     * Without a byte for so long, a connection counts as lost: more than two of the
     * server's keepalives. Time in which nobody reads the body does not count.
     */
    silence: number;
    /**
     * How long a connection that is to continue a body may take to begin. How long the
     * first one may, the caller's own signal says.
     */
    firstByte: number;
    /**
     * Says how long to wait, given the
     * failures in a row, what `Retry-After` asks for, and what an SSE `retry:` says.
     */
    pause: (failures: number, wish?: number, first?: number) => number;
};
