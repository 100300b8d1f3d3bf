/** How long to wait before the next try: doubling from half a second to ten, never in step with other pages. */

export const FIRST_S = 0.5;
export const LONGEST_S = 10;

/** Failed tries after which the server counts as gone (about twenty seconds). */
export const PATIENCE = 6;

export class Backoff {
  /** @param {() => number} [random] uniform in [0, 1) */
  constructor(random = Math.random) {
    this._random = random;
    this.failures = 0;
  }

  /** @returns {number} seconds to wait now, and counts the failure; a quarter of it is chance */
  next() {
    const whole = Math.min(LONGEST_S, FIRST_S * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return whole * (0.75 + 0.25 * this._random());
  }

  /** Whether so many tries have failed that the server is more likely gone than restarting. */
  get exhausted() {
    return this.failures >= PATIENCE;
  }

  reset() {
    this.failures = 0;
  }
}
