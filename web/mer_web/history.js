/**
 * What was seen: estimates in ring buffers of fixed size, oldest overwritten. Columns, not objects, so that
 * an hour at ten estimates a second (36,000) costs a few megabytes and no work for the garbage collector.
 *
 * The common axis is `time`: seconds of the server's clock. Stream time starts again with each session and
 * stands still while a source is gone; the clock on the wall does neither.
 */

import { STATES } from "./protocol.js";

/** An hour at ten estimates a second, and a minute more, so that the oldest column of the view is whole. */
export const CAPACITY = 36600;

/** Seconds without an estimate after which a line is broken: it would tell of what nobody heard. */
export const GAP_S = 2.5;

const NUMBERS = /** @type {const} */ ([
  "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high", "level_db",
]);
const LATENCY = /** @type {const} */ (["window_s", "buffer_ms", "compute_ms", "queue_ms"]);
const FAST = /** @type {const} */ ([
  "window_s", "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
]);

/** Code of a state this page has no name for. */
export const OTHER_STATE = STATES.length;

/**
 * @param {string} state
 * @returns {number} its code
 */
export function stateCode(state) {
  const code = STATES.indexOf(/** @type {any} */ (state));
  return code < 0 ? OTHER_STATE : code;
}

/**
 * @typedef {object} Run  a stretch of one state in one session
 * @property {number} state
 * @property {number} session
 * @property {number} start   seconds
 * @property {number} end     seconds
 */

export class History {
  /** @param {number} [capacity] most estimates kept */
  constructor(capacity = CAPACITY) {
    this.capacity = capacity;
    /** Estimates ever taken; index i lives at slot i % capacity. */
    this.end = 0;
    this.time = new Float64Array(capacity);
    this.seq = new Float64Array(capacity);
    this.t = new Float64Array(capacity);
    this.state = new Uint8Array(capacity);
    this.session = new Uint16Array(capacity);
    this.valence = new Float32Array(capacity);
    this.arousal = new Float32Array(capacity);
    this.valence_low = new Float32Array(capacity);
    this.valence_high = new Float32Array(capacity);
    this.arousal_low = new Float32Array(capacity);
    this.arousal_high = new Float32Array(capacity);
    this.level_db = new Float32Array(capacity);
    this.latency = new Float32Array(capacity * LATENCY.length);
    /** Not numbers where an estimate had no fast values. */
    this._fast = new Float32Array(capacity * FAST.length);
    /** @type {string[]} */
    this._utc = new Array(capacity).fill("");
    /** @type {string[]} */
    this._mood = new Array(capacity).fill("");
    /** Session ids in the order they came, and what each was called. @type {{id: string, label: string}[]} */
    this.sessions = [];
    /** Stretches of states, oldest first. @type {Run[]} */
    this.runs = [];
    /** Seconds by which this session's clock was put forward to follow on what was seen. */
    this._shift = 0;
  }

  get length() {
    return Math.min(this.end, this.capacity);
  }

  /** Index of the oldest estimate that is still here. */
  get start() {
    return this.end - this.length;
  }

  /**
   * @param {number} index in [start, end)
   * @returns {number} its slot in the columns
   */
  slot(index) {
    return index % this.capacity;
  }

  /** Time of the newest estimate, -Infinity where there is none. */
  get newest() {
    return this.end ? this.time[this.slot(this.end - 1)] : -Infinity;
  }

  /**
   * Names the session that the next estimates belong to.
   * @param {string} id
   * @param {string} label
   * @returns {boolean} whether it is another one than before
   */
  enter(id, label) {
    const last = this.sessions[this.sessions.length - 1];
    if (last && last.id === id) return false;
    if (last && !this.runs.some((run) => run.session === this.sessions.length - 1)) this.sessions.pop();
    this.sessions.push({ id, label });
    this._shift = 0;
    return true;
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {boolean} [live]  of now, and not a part of the past
   * @returns {boolean} false where it was seen already, or is another session's past
   */
  push(estimate, live = false) {
    if (!this.sessions.length) this.enter("", "");
    const session = this.sessions.length - 1;
    let at = Date.parse(estimate.utc) / 1000 + this._shift;
    let gap = false;
    if (this.end) {
      const before = this.slot(this.end - 1);
      const same = this.session[before] === session;
      if (same && estimate.seq <= this.seq[before]) return false;
      if (at < this.time[before]) {
        if (!live && !same) return false;
        // The clock was put back, or it is another machine's: time goes on where it was.
        this._shift += this.time[before] - at;
        at = this.time[before];
      }
      gap = at - this.time[before] > GAP_S;
    }
    const slot = this.slot(this.end);
    this.time[slot] = at;
    this.seq[slot] = estimate.seq;
    this.t[slot] = estimate.t;
    this.state[slot] = stateCode(estimate.state);
    this.session[slot] = session;
    for (const name of NUMBERS) this[name][slot] = estimate[name];
    for (let k = 0; k < LATENCY.length; k += 1) {
      this.latency[slot * LATENCY.length + k] = estimate.latency[LATENCY[k]];
    }
    for (let k = 0; k < FAST.length; k += 1) {
      this._fast[slot * FAST.length + k] = estimate.fast ? estimate.fast[FAST[k]] : NaN;
    }
    this._utc[slot] = estimate.utc;
    this._mood[slot] = estimate.mood;
    this.end += 1;
    this._extendRuns(this.state[slot], session, at, gap);
    return true;
  }

  /**
   * @param {number} state
   * @param {number} session
   * @param {number} at
   * @param {boolean} gap
   */
  _extendRuns(state, session, at, gap) {
    const last = this.runs[this.runs.length - 1];
    if (last && last.session === session && !gap) {
      // A stretch lasts until the next one begins.
      last.end = at;
      if (last.state === state) return;
    }
    this.runs.push({ state, session, start: at, end: at });
    const oldest = this.time[this.slot(this.start)];
    let gone = 0;
    while (gone < this.runs.length - 1 && this.runs[gone].end < oldest) gone += 1;
    if (gone > 64) this.runs.splice(0, gone);
  }

  /**
   * @param {number} time seconds
   * @returns {number} index of the first estimate at or after it; `end` where there is none
   */
  lowerBound(time) {
    let low = this.start;
    let high = this.end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.time[this.slot(middle)] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * @param {number} index in [start, end)
   * @returns {import("./protocol.js").Estimate & {session: string}} as it came (numbers in single precision)
   */
  at(index) {
    const slot = this.slot(index);
    const base = slot * LATENCY.length;
    const fast = this._fastAt(slot);
    return {
      type: "estimate",
      seq: this.seq[slot],
      t: this.t[slot],
      utc: this._utc[slot],
      valence: this.valence[slot],
      arousal: this.arousal[slot],
      valence_low: this.valence_low[slot],
      valence_high: this.valence_high[slot],
      arousal_low: this.arousal_low[slot],
      arousal_high: this.arousal_high[slot],
      mood: this._mood[slot],
      state: STATES[this.state[slot]] ?? "other",
      level_db: this.level_db[slot],
      latency: {
        window_s: this.latency[base],
        buffer_ms: this.latency[base + 1],
        compute_ms: this.latency[base + 2],
        queue_ms: this.latency[base + 3],
      },
      ...(fast && { fast }),
      session: this.sessions[this.session[slot]]?.id ?? "",
    };
  }

  /**
   * @param {number} slot
   * @returns {import("./protocol.js").Fast|null}
   */
  _fastAt(slot) {
    const base = slot * FAST.length;
    if (Number.isNaN(this._fast[base])) return null;
    const values = FAST.map((name, k) => [name, this._fast[base + k]]);
    return /** @type {import("./protocol.js").Fast} */ (Object.fromEntries(values));
  }
}
