/** Delays between connection attempts: doubling from half a second to ten, with jitter. */

export const FIRST_S = 0.5;
export const LONGEST_S = 10;

/** Failed attempts after which the server counts as gone (about twenty seconds). */
const GONE_AFTER_FAILURES = 6;

export class Backoff {
  /** @param {() => number} [random] uniform in [0, 1) */
  constructor(random = Math.random) {
    this._random = random;
    this.failures = 0;
  }

  /** @returns {number} seconds to wait after this failure; a quarter of them is random */
  next() {
    const delay = Math.min(LONGEST_S, FIRST_S * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return delay * (0.75 + 0.25 * this._random());
  }

  /** Whether so many attempts have failed that the server is more likely gone than restarting. */
  get exhausted() {
    return this.failures >= GONE_AFTER_FAILURES;
  }

  reset() {
    this.failures = 0;
  }
}
