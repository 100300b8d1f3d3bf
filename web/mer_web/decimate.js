/**
 * Reduces many estimates to one point per pixel column: mean, minimum, maximum and mean interval. A line through
 * 36,000 points would be slow to draw and unreadable.
 */

import { GAP_S } from "./history.js";

/**
 * @typedef {object} Source  one of the two values, one number per estimate or second
 * @property {Float32Array} mean
 * @property {Float32Array} min
 * @property {Float32Array} max
 * @property {Float32Array} low   bounds of the interval
 * @property {Float32Array} high
 */

/** One of the two values, one number per point. */
export class Series {
  /** @param {number} capacity */
  constructor(capacity) {
    this.mean = new Float64Array(capacity);
    this.min = new Float64Array(capacity);
    this.max = new Float64Array(capacity);
    /** Mean bounds of the interval. */
    this.low = new Float64Array(capacity);
    this.high = new Float64Array(capacity);
  }

  /**
   * @param {number} n
   * @param {Source} source
   * @param {number} slot
   */
  begin(n, source, slot) {
    this.mean[n] = this.low[n] = this.high[n] = 0;
    this.min[n] = source.min[slot];
    this.max[n] = source.max[slot];
  }

  /**
   * @param {number} n
   * @param {Source} source
   * @param {number} slot
   * @param {number} count  estimates in the slot
   */
  add(n, { mean, min, max, low, high }, slot, count) {
    this.mean[n] += count * mean[slot];
    this.low[n] += count * low[slot];
    this.high[n] += count * high[slot];
    if (min[slot] < this.min[n]) this.min[n] = min[slot];
    if (max[slot] > this.max[n]) this.max[n] = max[slot];
  }

  /**
   * @param {number} n
   * @param {number} count
   */
  finish(n, count) {
    this.mean[n] /= count;
    this.low[n] /= count;
    this.high[n] /= count;
  }
}

/** Points of an interval of time, in arrays that are reused. */
export class Points {
  /** @param {number} [capacity] initial number of points */
  constructor(capacity = 256) {
    this.length = 0;
    /** Seconds since the origin: mean of the column's estimates. */
    this.time = new Float64Array(capacity);
    /** 1 where no line connects the previous point with this one. */
    this.broken = new Uint8Array(capacity);
    this.valence = new Series(capacity);
    this.arousal = new Series(capacity);
  }

  /** @param {number} capacity required number of points */
  reserve(capacity) {
    if (capacity > this.time.length) Object.assign(this, new Points(capacity));
  }
}

/**
 * From this number of seconds per column on, seconds are as good as estimates: with both ends of a column within a
 * second of where they are, nobody sees the difference, and there are ten times fewer.
 */
const SECONDS_FROM_S = 2;

/**
 * @param {import("./history.js").History} history
 * @param {number} from       seconds
 * @param {number} perColumn  seconds per column
 * @returns {import("./history.js").History|import("./seconds.js").Seconds} what to read the past from this moment from
 */
export function resolution(history, from, perColumn) {
  return perColumn >= SECONDS_FROM_S || from < history.oldestExact ? history.seconds : history;
}

/**
 * @param {import("./history.js").History|import("./seconds.js").Seconds} columns  estimates, or seconds of them
 * @param {"valence"|"arousal"} axis
 * @returns {Source}
 */
function sourceOf({ shown }, axis) {
  const mean = shown[axis];
  const [min, max] = "valence_min" in shown ? [shown[`${axis}_min`], shown[`${axis}_max`]] : [mean, mean];
  return { mean, min, max, low: shown[`${axis}_low`], high: shown[`${axis}_high`] };
}

/**
 * @param {import("./history.js").History|import("./seconds.js").Seconds} columns  estimates, or seconds of them
 * @param {number} from     first index
 * @param {number} to       one past the last index
 * @param {number} origin   start of column 0 in seconds
 * @param {number} perColumn  seconds per column
 * @param {Points} out      overwritten with the result
 */
export function decimate(columns, from, to, origin, perColumn, out) {
  out.reserve(Math.max(0, to - from));
  const { capacity, time, session } = columns;
  const [counts, gaps] = "count" in columns ? [columns.count, columns.broken] : [null, null];
  const [valence, arousal] = [sourceOf(columns, "valence"), sourceOf(columns, "arousal")];
  let n = -1;
  let column = NaN;
  let count = 0;
  let lastTime = -Infinity;
  let lastSession = -1;
  const finish = () => {
    if (n < 0) return;
    out.time[n] /= count;
    out.valence.finish(n, count);
    out.arousal.finish(n, count);
  };
  for (let i = from; i < to; i += 1) {
    const s = i % capacity;
    const at = time[s] - origin;
    const here = Math.floor(at / perColumn);
    const broken = gaps ? gaps[s] === 1 || i === from : time[s] - lastTime > GAP_S || session[s] !== lastSession;
    if (here !== column || broken) {
      finish();
      n += 1;
      count = 0;
      column = here;
      out.broken[n] = broken ? 1 : 0;
      out.time[n] = 0;
      out.valence.begin(n, valence, s);
      out.arousal.begin(n, arousal, s);
    }
    const weight = counts ? counts[s] : 1;
    count += weight;
    out.time[n] += weight * at;
    out.valence.add(n, valence, s, weight);
    out.arousal.add(n, arousal, s, weight);
    lastTime = time[s];
    lastSession = session[s];
  }
  finish();
  out.length = n + 1;
}
