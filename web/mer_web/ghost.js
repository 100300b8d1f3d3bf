/** The curve of another session, to compare with: values over stream time, which the timeline draws as a thin line. */

import { GAP_S } from "./history.js";
import { shownRange } from "./value-range.js";

/**
 * @typedef {object} GhostPoint
 * @property {number} t        seconds of the stream
 * @property {number} valence
 * @property {number} arousal
 * @property {{valence: number, arousal: number}} [scaled]  as their place among music
 */

/** @typedef {{valence: number, arousal: number}} Place */

export class Ghost {
  /**
   * @param {string} name
   * @param {GhostPoint[]} points  at least one
   */
  constructor(name, points) {
    this.name = name;
    const sorted = [...points].sort((a, b) => a.t - b.t);
    this._t = Float64Array.from(sorted, (point) => point.t);
    // Sums up to each point, so that the mean of any interval takes no longer than that of a short one.
    this._raw = sums(sorted);
    this._scaled = sorted.every((point) => point.scaled) ? sums(sorted.map((point) => point.scaled ?? point)) : null;
  }

  /** Seconds of the stream at the first point. */
  get start() {
    return this._t[0];
  }

  /** Seconds of the stream at the last point. */
  get end() {
    return this._t[this._t.length - 1];
  }

  /** Whether its values are in the range that the page shows. */
  get isComparable() {
    return shownRange() === "raw" || this._scaled !== null;
  }

  /**
   * @param {number} from  seconds of the stream
   * @param {number} to
   * @returns {Place|null} the mean of this interval, or the values at its middle where no point lies in it; null where
   *   the session has nothing
   */
  at(from, to) {
    const first = this._after(from);
    const last = this._after(to);
    const { valence, arousal } = (shownRange() === "music" && this._scaled) || this._raw;
    if (last > first) {
      const mean = (/** @type {Float64Array} */ sum) => (sum[last] - sum[first]) / (last - first);
      return { valence: mean(valence), arousal: mean(arousal) };
    }
    if (first === 0 || first === this._t.length) return null;
    const interval = this._t[first] - this._t[first - 1];
    if (interval > Math.max(GAP_S, to - from)) return null;
    const share = ((from + to) / 2 - this._t[first - 1]) / interval;
    const value = (/** @type {Float64Array} */ sum, /** @type {number} */ k) => sum[k + 1] - sum[k];
    const mix = (/** @type {Float64Array} */ sum) =>
      value(sum, first - 1) + share * (value(sum, first) - value(sum, first - 1));
    return { valence: mix(valence), arousal: mix(arousal) };
  }

  /**
   * @param {number} t
   * @returns {number} how many points are before it
   */
  _after(t) {
    let low = 0;
    let high = this._t.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._t[middle] < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * @param {Place[]} places
 * @returns {{valence: Float64Array, arousal: Float64Array}} sums of the first k places
 */
function sums(places) {
  const valence = new Float64Array(places.length + 1);
  const arousal = new Float64Array(places.length + 1);
  places.forEach((place, k) => {
    valence[k + 1] = valence[k] + place.valence;
    arousal[k + 1] = arousal[k] + place.arousal;
  });
  return { valence, arousal };
}

/**
 * @param {import("./history.js").History} history
 * @param {string} session  its name
 * @returns {import("./ghost.js").GhostPoint[]} a session of this page, by the second
 */
export function pointsOfSession({ seconds, sessions }, session) {
  const points = [];
  for (let index = seconds.start; index < seconds.end; index += 1) {
    const slot = index % seconds.capacity;
    if (sessions[seconds.session[slot]]?.id !== session) continue;
    const { raw, scaled } = seconds.at(index);
    points.push({ t: seconds.t[slot], valence: raw.valence, arousal: raw.arousal, ...(scaled && { scaled }) });
  }
  return points;
}
