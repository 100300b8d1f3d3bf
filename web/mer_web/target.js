/** The way over the plane that a session is meant to take: places in time, with a straight way between them. */

import { signed } from "./text.js";

/** @typedef {{t: number, valence: number, arousal: number}} TargetPoint  seconds of the stream; a place on the plane */
/** @typedef {{valence: number, arousal: number}} Place */

/** Below this distance the session counts as being where it is meant to be. */
const NEAR = 0.1;

export class Target {
  /** @param {TargetPoint[]} points at least one, in order of time */
  constructor(points) {
    this.points = points;
  }

  /**
   * @param {number} t stream time in seconds
   * @returns {Place} the first and the last place hold before and after
   */
  at(t) {
    const after = this.points.findIndex((point) => point.t > t);
    if (after === 0) return this.points[0];
    if (after < 0) return this.points[this.points.length - 1];
    const [a, b] = [this.points[after - 1], this.points[after]];
    const share = (t - a.t) / (b.t - a.t);
    return { valence: a.valence + share * (b.valence - a.valence), arousal: a.arousal + share * (b.arousal - a.arousal) };
  }
}

/**
 * @param {Place} shown  the values on the plane
 * @param {Place} place  where they should be
 * @returns {string} the distance in words: `0.34 from the target (+0.20, −0.40)`
 */
export function targetLine(shown, place) {
  const distance = Math.hypot(shown.valence - place.valence, shown.arousal - place.arousal);
  const where = `(${signed(place.valence)}, ${signed(place.arousal)})`;
  return distance < NEAR ? `on target ${where}` : `${distance.toFixed(2)} from the target ${where}`;
}
