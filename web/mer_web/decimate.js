/**
 * From many estimates to one point a pixel column. A line through 36,000 points is 36,000 points of work and
 * looks like a blot; this keeps what the eye could see of each column: mean, lowest, highest, mean interval.
 */

import { GAP_S } from "./history.js";

/** One of the two values, a number a point. */
export class Lane {
  /** @param {number} room */
  constructor(room) {
    this.mean = new Float64Array(room);
    this.min = new Float64Array(room);
    this.max = new Float64Array(room);
    /** Mean ends of the interval. */
    this.low = new Float64Array(room);
    this.high = new Float64Array(room);
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

/** Points of a stretch of time, in memory that is used again. */
export class Points {
  /** @param {number} [room] points there is room for at first */
  constructor(room = 256) {
    this.length = 0;
    /** Seconds since the origin, mean of the column's estimates. */
    this.time = new Float64Array(room);
    /** 1 where no line leads from the point before to this one. */
    this.broken = new Uint8Array(room);
    this.valence = new Lane(room);
    this.arousal = new Lane(room);
  }

  /** @param {number} room points there must be room for */
  reserve(room) {
    if (room > this.time.length) Object.assign(this, new Points(room));
  }
}

/**
 * @param {import("./history.js").History} history
 * @param {number} from     first index
 * @param {number} to       one past the last index
 * @param {number} origin   seconds: where column 0 begins
 * @param {number} perColumn  seconds in a column
 * @param {Points} out      filled anew
 */
export function decimate(history, from, to, origin, perColumn, out) {
  out.reserve(Math.max(0, to - from));
  const { capacity, time, session } = history;
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
      out.valence.begin(n, history.valence[s]);
      out.arousal.begin(n, history.arousal[s]);
    }
    count += 1;
    out.time[n] += at;
    out.valence.add(n, history.valence[s], history.valence_low[s], history.valence_high[s]);
    out.arousal.add(n, history.arousal[s], history.arousal_low[s], history.arousal_high[s]);
    lastTime = time[s];
    lastSession = session[s];
  }
  finish();
  out.length = n + 1;
}
