/**
 * The past by the second: of all estimates of a second their mean, least and greatest values, in ring buffers of fixed
 * size. Twelve hours take about six megabytes, however many estimates a second there are.
 */

import { shownValues } from "./value-range.js";

/** Twelve hours. */
const CAPACITY = 43_200;

export const AXIS_VALUES = /** @type {const} */ ([
  "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
]);
const BOUNDS = /** @type {const} */ (["valence_min", "valence_max", "arousal_min", "arousal_max"]);

/** The values of each second in one range: means, and the least and greatest values. */
export class Values {
  /** @param {number} capacity */
  constructor(capacity) {
    this.valence = new Float32Array(capacity);
    this.arousal = new Float32Array(capacity);
    this.valence_low = new Float32Array(capacity);
    this.valence_high = new Float32Array(capacity);
    this.arousal_low = new Float32Array(capacity);
    this.arousal_high = new Float32Array(capacity);
    this.valence_min = new Float32Array(capacity);
    this.valence_max = new Float32Array(capacity);
    this.arousal_min = new Float32Array(capacity);
    this.arousal_max = new Float32Array(capacity);
  }

  /**
   * @param {number} slot
   * @param {import("./protocol.js").AxisValues} values
   * @param {number} count  estimates of the second, with this one
   */
  add(slot, values, count) {
    for (const name of AXIS_VALUES) {
      this[name][slot] = count === 1 ? values[name] : this[name][slot] + (values[name] - this[name][slot]) / count;
    }
    for (const axis of /** @type {const} */ (["valence", "arousal"])) {
      const [min, max] = [this[`${axis}_min`], this[`${axis}_max`]];
      min[slot] = count === 1 ? values[axis] : Math.min(min[slot], values[axis]);
      max[slot] = count === 1 ? values[axis] : Math.max(max[slot], values[axis]);
    }
  }

  /**
   * @param {number} slot
   * @param {Values} from
   */
  copy(slot, from) {
    for (const name of [...AXIS_VALUES, ...BOUNDS]) this[name][slot] = from[name][slot];
  }

  /**
   * @param {number} slot
   * @returns {import("./protocol.js").AxisValues} the means
   */
  at(slot) {
    const values = AXIS_VALUES.map((name) => [name, this[name][slot]]);
    return /** @type {import("./protocol.js").AxisValues} */ (Object.fromEntries(values));
  }
}

export class Seconds {
  /** @param {number} [capacity] maximum number of seconds */
  constructor(capacity = CAPACITY) {
    this.capacity = capacity;
    /** Number of seconds ever added; second i is stored at slot i % capacity. */
    this.end = 0;
    /** Mean time of the estimates, on the axis of the history. */
    this.time = new Float64Array(capacity);
    /** Mean stream time. */
    this.t = new Float64Array(capacity);
    this.session = new Uint16Array(capacity);
    /** Number of estimates. */
    this.count = new Uint16Array(capacity);
    /** 1 where no line connects the second with the one before. */
    this.broken = new Uint8Array(capacity);
    this.state = new Uint8Array(capacity);
    this._utc_ms = new Float64Array(capacity);
    this._mood = new Uint16Array(capacity);
    this._raw = new Values(capacity);
    /** The values as their place among music, where `_isScaled` is 1. */
    this._scaled = new Values(capacity);
    this._isScaled = new Uint8Array(capacity);
    /** The values to draw, in the range that the page shows. */
    this.shown = new Values(capacity);
    /** Every mood that was heard of. @type {string[]} */
    this._moods = [];
    this._second = NaN;
  }

  get start() {
    return Math.max(0, this.end - this.capacity);
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} time     on the axis of the history
   * @param {number} session  its index
   * @param {number} state    its code
   * @param {boolean} broken  whether no line connects it with the estimate before
   */
  push(estimate, time, session, state, broken) {
    const second = Math.floor(time);
    const last = (this.end - 1) % this.capacity;
    const isNew = !this.end || second !== this._second || broken || this.session[last] !== session
      || this._isScaled[last] !== (estimate.scaled ? 1 : 0);
    if (isNew) this.end += 1;
    this._second = second;
    const slot = (this.end - 1) % this.capacity;
    if (isNew) {
      this.count[slot] = 0;
      this.session[slot] = session;
      this.broken[slot] = broken ? 1 : 0;
      this._isScaled[slot] = estimate.scaled ? 1 : 0;
    }
    const count = (this.count[slot] += 1);
    this.time[slot] += count === 1 ? time - this.time[slot] : (time - this.time[slot]) / count;
    this.t[slot] += count === 1 ? estimate.t - this.t[slot] : (estimate.t - this.t[slot]) / count;
    this.state[slot] = state;
    this._utc_ms[slot] = Date.parse(estimate.utc);
    this._mood[slot] = this._codeOf(estimate.mood);
    this._raw.add(slot, estimate, count);
    if (estimate.scaled) this._scaled.add(slot, estimate.scaled, count);
    this._show(slot);
  }

  /** Chooses the values to draw again, after the range was switched. */
  rescale() {
    for (let index = this.start; index < this.end; index += 1) this._show(index % this.capacity);
  }

  /** @param {number} slot */
  _show(slot) {
    this.shown.copy(slot, this._isScaled[slot] && showsScaled() ? this._scaled : this._raw);
  }

  /**
   * @param {string} mood
   * @returns {number} its code
   */
  _codeOf(mood) {
    const code = this._moods.indexOf(mood);
    if (code >= 0) return code;
    // A server has a dozen words; one that makes them up gets no more room.
    if (this._moods.length > 200) return 0;
    this._moods.push(mood);
    return this._moods.length - 1;
  }

  /**
   * @param {number} index in [start, end)
   * @returns {{utc_ms: number, mood: string, raw: import("./protocol.js").AxisValues,
   *            scaled?: import("./protocol.js").AxisValues}}
   */
  at(index) {
    const slot = index % this.capacity;
    return { utc_ms: this._utc_ms[slot], mood: this._moods[this._mood[slot]], raw: this._raw.at(slot),
             ...(this._isScaled[slot] && { scaled: this._scaled.at(slot) }) };
  }
}

/** @returns {boolean} whether the page shows scaled values where there are any */
export function showsScaled() {
  const both = { scaled: /** @type {any} */ ({}) };
  return shownValues(both) === both.scaled;
}
