/**
 * The received estimates in ring buffers of fixed size. Columns instead of objects: an hour at ten estimates a
 * second (36,000) takes a few megabytes and no work of the garbage collector. What is older is there by the second.
 *
 * The common axis is `time`: seconds of the server's clock at first. Stream time would not do: it restarts with each
 * session and stops while a source is lost. Where the server's clock is set, the axis continues without a jump.
 */

import { STATES } from "./protocol.js";
import { AXIS_VALUES, Seconds, showsScaled } from "./seconds.js";
import { shownValues } from "./value-range.js";

/** An hour at ten estimates a second, and a minute more, so that the oldest column of the view is complete. */
const CAPACITY = 36600;

/** Seconds without an estimate after which a line is broken. */
export const GAP_S = 2.5;

/** Two estimates of a session are at most so many seconds apart, unless no time passed there or the clock was set. */
const MAX_HOP_S = 5;
/** Seconds by which an estimate may be late. */
const MAX_LATE_S = 5;

const NUMBERS = /** @type {const} */ ([
  "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high", "level_db",
]);
const LATENCY = /** @type {const} */ (["window_s", "buffer_ms", "compute_ms", "queue_ms"]);
const FAST = /** @type {const} */ ([
  "window_s", "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
]);

/** Code of a state that this page does not know. */
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
 * @param {number} capacity
 * @returns {Record<typeof AXIS_VALUES[number], Float32Array>}
 */
function axisColumns(capacity) {
  const columns = AXIS_VALUES.map((name) => [name, new Float32Array(capacity)]);
  return /** @type {Record<typeof AXIS_VALUES[number], Float32Array>} */ (Object.fromEntries(columns));
}

/**
 * @typedef {{start: number, end: number, capacity: number, time: Float64Array}} Ring  columns, of estimates or seconds,
 *   in order of time
 */

/**
 * @param {Ring} ring
 * @param {(slot: number) => boolean} isBefore  true for the first ones, false for the others
 * @returns {number} index of the first of the others; `end` where there is none
 */
function bound(ring, isBefore) {
  let low = ring.start;
  let high = ring.end;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (isBefore(middle % ring.capacity)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * @param {Ring} ring
 * @param {number} time seconds
 * @returns {number} index of the first one at or after this time; `end` where there is none
 */
export function lowerBound(ring, time) {
  return bound(ring, (slot) => ring.time[slot] < time);
}

/**
 * @typedef {object} Moment  an estimate, or the mean of a second's
 * @property {number} time     seconds of the axis
 * @property {number} t        seconds of the stream
 * @property {number} utc_ms   milliseconds since 1970
 * @property {number} session  its index
 * @property {number} state    its code
 * @property {string} mood
 * @property {import("./protocol.js").AxisValues} raw
 * @property {import("./protocol.js").AxisValues} [scaled]
 */

/**
 * @typedef {object} Run  an interval of one state in one session
 * @property {number} state
 * @property {number} session
 * @property {number} start   seconds
 * @property {number} end     seconds
 */

export class History {
  /**
   * @param {number} [capacity]  maximum number of estimates
   * @param {Seconds} [seconds]  the past by the second
   */
  constructor(capacity = CAPACITY, seconds = new Seconds()) {
    this.capacity = capacity;
    this.seconds = seconds;
    /** Number of estimates ever added; index i is stored at slot i % capacity. */
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
    /** The values to draw: in the range that the page shows. */
    this.shown = axisColumns(capacity);
    /** The values as their place among music, where `_isScaled` is 1. */
    this._scaled = axisColumns(capacity);
    this._isScaled = new Uint8Array(capacity);
    this.latency = new Float32Array(capacity * LATENCY.length);
    /** NaN where an estimate had no fast values. */
    this._fast = new Float32Array(capacity * FAST.length);
    /** @type {string[]} */
    this._utc = new Array(capacity).fill("");
    /** @type {string[]} */
    this._mood = new Array(capacity).fill("");
    /** Sessions in the order of arrival. @type {{id: string, label: string}[]} */
    this.sessions = [];
    /** Runs of states, oldest first. @type {Run[]} */
    this.runs = [];
    /** Seconds added to the server's clock, so that time never goes backwards and never jumps. */
    this._clockShift = 0;
    /** Seconds of the axis minus local ones at the newest live estimate; NaN before it. */
    this._ahead = NaN;
  }

  get length() {
    return Math.min(this.end, this.capacity);
  }

  /** Index of the oldest estimate that is still stored. */
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

  /** Time of the newest estimate; -Infinity where there is none. */
  get newest() {
    return this.end ? this.time[this.slot(this.end - 1)] : -Infinity;
  }

  /** Time of the oldest second; Infinity where there is none. */
  get oldest() {
    const { seconds } = this;
    return seconds.end ? seconds.time[seconds.start % seconds.capacity] : Infinity;
  }

  /** Time of the oldest estimate that is stored as it was received; Infinity where there is none. */
  get oldestExact() {
    return this.end ? this.time[this.slot(this.start)] : Infinity;
  }

  /** Seconds of the axis minus those since 1970, at the newest estimate. */
  get shift() {
    return this._clockShift;
  }

  /**
   * Sets the session of the next estimates.
   * @param {string} id
   * @param {string} label
   * @returns {boolean} whether it differs from the current one
   */
  startSession(id, label) {
    const last = this.sessions[this.sessions.length - 1];
    if (last && last.id === id) return false;
    if (last && !this.runs.some((run) => run.session === this.sessions.length - 1)) this.sessions.pop();
    this.sessions.push({ id, label });
    return true;
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {boolean} [live]   a live estimate, not a part of a snapshot
   * @param {number} [local]   seconds of this machine's even clock at its arrival; NaN if unknown
   * @returns {boolean} false for a duplicate, and for another session's past
   */
  push(estimate, live = false, local = NaN) {
    if (!this.sessions.length) this.startSession("", "");
    const session = this.sessions.length - 1;
    let at = Date.parse(estimate.utc) / 1000 + this._clockShift;
    let gap = false;
    if (this.end) {
      const before = this.slot(this.end - 1);
      const same = this.session[before] === session;
      if (same && estimate.seq <= this.seq[before]) return false;
      if (at < this.time[before] && !live && !same) return false;
      const passed = live || same ? local + this._ahead - this.time[before] : NaN;
      const step = this._step(estimate, at - this.time[before], before, same, passed);
      if (this.time[before] + step !== at) {
        this._clockShift += this.time[before] + step - at;
        at = this.time[before] + step;
      }
      gap = step > GAP_S;
    }
    if (live) this._ahead = at - local;
    const slot = this.slot(this.end);
    this.time[slot] = at;
    this.seq[slot] = estimate.seq;
    this.t[slot] = estimate.t;
    this.state[slot] = stateCode(estimate.state);
    this.session[slot] = session;
    for (const name of NUMBERS) this[name][slot] = estimate[name];
    const shown = shownValues(estimate);
    for (const name of AXIS_VALUES) {
      this.shown[name][slot] = shown[name];
      if (estimate.scaled) this._scaled[name][slot] = estimate.scaled[name];
    }
    this._isScaled[slot] = estimate.scaled ? 1 : 0;
    for (let k = 0; k < LATENCY.length; k += 1) {
      this.latency[slot * LATENCY.length + k] = estimate.latency[LATENCY[k]];
    }
    for (let k = 0; k < FAST.length; k += 1) {
      this._fast[slot * FAST.length + k] = estimate.fast ? estimate.fast[FAST[k]] : NaN;
    }
    this._utc[slot] = estimate.utc;
    this._mood[slot] = estimate.mood;
    const before = this.end ? this.session[this.slot(this.end - 1)] : -1;
    this.end += 1;
    this.seconds.push(estimate, at, session, this.state[slot], gap || before !== session);
    this._extendRuns(this.state[slot], session, at, gap);
    return true;
  }

  /** Chooses the values to draw again, after the range was switched. */
  rescale() {
    const isScaled = showsScaled();
    for (let index = this.start; index < this.end; index += 1) {
      const slot = this.slot(index);
      const from = isScaled && this._isScaled[slot] ? this._scaled : this;
      for (const name of AXIS_VALUES) this.shown[name][slot] = from[name][slot];
    }
    this.seconds.rescale();
  }

  /**
   * The time from the newest estimate to the next one. The server's clock tells it, unless it was set: then it went
   * backwards, or further than the numbers of the estimates and this machine's clock allow.
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} step     seconds by the server's clock
   * @param {number} before   slot of the newest estimate
   * @param {boolean} same    whether both are of one session
   * @param {number} passed   seconds by this machine's clock; NaN if unknown
   * @returns {number} seconds, not negative
   */
  _step(estimate, step, before, same, passed) {
    const counted = same ? MAX_HOP_S * (estimate.seq - this.seq[before]) : 0;
    const limit = Number.isNaN(passed) ? Infinity : Math.max(passed, counted) + MAX_LATE_S;
    if (step >= 0 && step <= limit) return step;
    const stream = same ? estimate.t - this.t[before] : passed;
    return Math.min(Math.max(0, stream || 0), limit);
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
      // A run lasts until the next one begins.
      last.end = at;
      if (last.state === state) return;
    }
    this.runs.push({ state, session, start: at, end: at });
    const { oldest } = this;
    let gone = 0;
    while (gone < this.runs.length - 1 && this.runs[gone].end < oldest) gone += 1;
    if (gone > 64) this.runs.splice(0, gone);
  }

  /**
   * @param {number} time seconds
   * @returns {number} index of the first estimate at or after this time; `end` where there is none
   */
  lowerBound(time) {
    return lowerBound(this, time);
  }

  /**
   * @param {string} session  name of a session
   * @param {number} t        seconds of its stream
   * @returns {number} the time of this moment; NaN where nothing of the session is stored
   */
  timeOf(session, t) {
    const number = this.sessions.findLastIndex(({ id }) => id === session);
    if (number < 0) return NaN;
    // As it was received, or, where that is no longer there, by the second.
    for (const columns of [this, this.seconds]) {
      const first = bound(columns, (slot) => columns.session[slot] < number);
      const after = bound(columns, (slot) => columns.session[slot] < number
        || (columns.session[slot] === number && columns.t[slot] <= t));
      const isOldest = after === first && first === columns.start && columns === this && this.oldest < this.oldestExact;
      const slot = Math.max(first, after - 1) % columns.capacity;
      if (first < columns.end && columns.session[slot] === number && !isOldest) return columns.time[slot] + t - columns.t[slot];
    }
    return NaN;
  }

  /**
   * @param {number} time seconds
   * @returns {Moment|null} the estimate closest to it, or the second where that is no longer there
   */
  nearest(time) {
    const columns = time < this.oldestExact ? this.seconds : this;
    const after = Math.min(columns.end - 1, lowerBound(columns, time));
    if (after < columns.start) return null;
    const before = Math.max(columns.start, after - 1);
    const distance = (/** @type {number} */ index) => Math.abs(columns.time[index % columns.capacity] - time);
    const index = distance(before) < distance(after) ? before : after;
    const slot = index % columns.capacity;
    const found = columns === this ? this._momentAt(index) : this.seconds.at(index);
    return { ...found, time: columns.time[slot], t: columns.t[slot], session: columns.session[slot], state: columns.state[slot] };
  }

  /**
   * @param {number} index
   * @returns {{utc_ms: number, mood: string, raw: import("./protocol.js").AxisValues,
   *            scaled?: import("./protocol.js").AxisValues}}
   */
  _momentAt(index) {
    const estimate = this.at(index);
    return { utc_ms: Date.parse(estimate.utc), mood: estimate.mood, raw: estimate,
             ...(estimate.scaled && { scaled: estimate.scaled }) };
  }

  /**
   * @param {number} index in [start, end)
   * @returns {import("./protocol.js").Estimate & {session: string}} as received (numbers in single precision;
   *   without the scaled fast values)
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
      ...(this._isScaled[slot] && { scaled: this._scaledAt(slot) }),
      session: this.sessions[this.session[slot]]?.id ?? "",
    };
  }

  /**
   * @param {number} slot
   * @returns {import("./protocol.js").AxisValues}
   */
  _scaledAt(slot) {
    const values = AXIS_VALUES.map((name) => [name, this._scaled[name][slot]]);
    return /** @type {import("./protocol.js").AxisValues} */ (Object.fromEntries(values));
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
