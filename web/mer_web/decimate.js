/**
 * Reduces many estimates to one point per pixel column: mean, minimum, maximum and mean interval. A line through
 * 36,000 points would be slow to draw and unreadable.
 */

import { GAP_S } from "./history.js";

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
   * @param {number} value
   */
  begin(n, value) {
    this.mean[n] = this.low[n] = this.high[n] = 0;
    this.min[n] = this.max[n] = value;
  }

  /**
   * @param {number} n
   * @param {number} value
   * @param {number} low
   * @param {number} high
   */
  add(n, value, low, high) {
    this.mean[n] += value;
    this.low[n] += low;
    this.high[n] += high;
    if (value < this.min[n]) this.min[n] = value;
    if (value > this.max[n]) this.max[n] = value;
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
 * @param {import("./history.js").History} history
 * @param {number} from     first index
 * @param {number} to       one past the last index
 * @param {number} origin   start of column 0 in seconds
 * @param {number} perColumn  seconds per column
 * @param {Points} out      overwritten with the result
 */
export function decimate(history, from, to, origin, perColumn, out) {
  out.reserve(Math.max(0, to - from));
  const { capacity, time, session, shown } = history;
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
    const broken = time[s] - lastTime > GAP_S || session[s] !== lastSession;
    if (here !== column || broken) {
      finish();
      n += 1;
      count = 0;
      column = here;
      out.broken[n] = broken ? 1 : 0;
      out.time[n] = 0;
      out.valence.begin(n, shown.valence[s]);
      out.arousal.begin(n, shown.arousal[s]);
    }
    count += 1;
    out.time[n] += at;
    out.valence.add(n, shown.valence[s], shown.valence_low[s], shown.valence_high[s]);
    out.arousal.add(n, shown.arousal[s], shown.arousal_low[s], shown.arousal_high[s]);
    lastTime = time[s];
    lastSession = session[s];
  }
  finish();
  out.length = n + 1;
}
