/**
 * Motion between estimates: a critically damped spring for the shown values, and a clock that runs evenly although
 * estimates arrive irregularly. Both take the time as an argument and have no timer.
 */

/** Values that follow their targets without overshoot, independent of the frame rate. */
export class Spring {
  /** @param {number} size number of values */
  constructor(size) {
    this.value = new Float64Array(size);
    this.target = new Float64Array(size);
    this._speed = new Float64Array(size);
    this._fresh = true;
    this.moving = false;
  }

  /**
   * @param {ArrayLike<number>} target
   * @param {boolean} [jump] move there at once (reduced motion)
   */
  aim(target, jump = false) {
    this.target.set(target);
    if (this._fresh || jump) {
      this.value.set(target);
      this._speed.fill(0);
      this._fresh = false;
      this.moving = false;
      return;
    }
    this.moving = true;
  }

  /** Makes the values start at the next target instead of moving there. */
  reset() {
    this._fresh = true;
    this.moving = false;
    this._speed.fill(0);
  }

  /**
   * @param {number} seconds since the last step
   * @param {number} settle  seconds after which 98 % of a change is done
   */
  step(seconds, settle) {
    if (!this.moving) return;
    // x(t) = (x0 + (v0 + w x0) t) exp(-w t) is within 2 % at w t = 5.83.
    const w = 5.83 / settle;
    const decay = Math.exp(-w * seconds);
    let largest = 0;
    for (let k = 0; k < this.value.length; k += 1) {
      const distance = this.value[k] - this.target[k];
      const push = this._speed[k] + w * distance;
      this._speed[k] = (this._speed[k] - w * push * seconds) * decay;
      const left = (distance + push * seconds) * decay;
      this.value[k] = this.target[k] + left;
      largest = Math.max(largest, Math.abs(left), Math.abs(this._speed[k]) * 0.1);
    }
    if (largest < 2e-4) {
      this.value.set(this.target);
      this._speed.fill(0);
      this.moving = false;
    }
  }
}

/** Error in seconds beyond which the clock jumps. */
const JUMP_S = 3;

/** The server's clock as the view shows it: runs evenly and follows the newest estimate. */
export class ViewClock {
  constructor() {
    /** Server seconds minus local seconds, as of the newest estimate. @type {number|null} */
    this._offset = null;
    this._shown = NaN;
    this._last = NaN;
    /** Server seconds in a local second: not 1 where a recording is replayed faster. */
    this._rate = 1;
  }

  /** @param {number} rate server seconds in a local second */
  setRate(rate) {
    if (rate === this._rate) return;
    this._rate = rate;
    this._offset = null;
  }

  /**
   * @param {number} server  server time of the newest estimate in seconds
   * @param {number} local   local time of its arrival in seconds
   */
  sync(server, local) {
    const offset = server - local * this._rate;
    // An estimate can only arrive late, so the largest offset is the most accurate. The offset decays slowly, to
    // follow a clock that was set back.
    if (this._offset === null || offset > this._offset || this._offset - offset > JUMP_S * Math.max(1, this._rate)) {
      this._offset = offset;
    } else {
      this._offset += 0.02 * (offset - this._offset);
    }
  }

  /**
   * @param {number} local seconds
   * @returns {number} server seconds to show, NaN before the first estimate
   */
  at(local) {
    if (this._offset === null) return NaN;
    const wanted = local * this._rate + this._offset;
    const elapsed = local - this._last;
    const passed = elapsed * this._rate;
    this._last = local;
    const error = wanted - (this._shown + passed);
    if (!(Math.abs(error) < JUMP_S * Math.max(1, this._rate))) {
      this._shown = wanted;
    } else {
      this._shown += passed + error * Math.min(1, elapsed * 1.5);
    }
    return this._shown;
  }
}
