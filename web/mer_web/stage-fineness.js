/** Chooses how finely the picture of stage mode is drawn, from the times of its frames. */

/** Heights of the picture in pixels, from the finest; it is scaled to the window. */
export const HEIGHTS = [1080, 810, 600, 450, 340, 256];
/** Steps of it: the first one to try, with WebGL2 and with Canvas 2D. */
const FIRST_WITH_WEBGL = 1;
const FIRST_WITHOUT = 3;
const COARSEST = HEIGHTS.length - 1;
/** Milliseconds between two looks at the times. */
const LOOK_MS = 1000;
/** A frame that takes longer, or comes later, is drawn too finely; one that takes less may be drawn more finely. */
const SLOW_COST_MS = 12;
const SLOW_INTERVAL_MS = 21;
const QUICK_COST_MS = 4;
/** On a display with few frames a second, a frame is late after so many of the display's periods. */
const LATE_PERIODS = 1.25;
/** Frames are the display's own where none of them comes sooner than this share of their mean time. */
const EVEN = 0.8;
/** WebGL2 that is slow at the coarsest height for so many looks is drawn by the processor, which is quicker without it. */
const SLOW_LOOKS = 2;
/** So long after it was too fine, a height is not tried again. */
const RETRY_MS = 60_000;

export class Fineness {
  /** @param {boolean} webgl  whether it is drawn with WebGL2 */
  constructor(webgl) {
    this._step = webgl ? FIRST_WITH_WEBGL : FIRST_WITHOUT;
    /** When each height was too fine. */
    this._slowAt = HEIGHTS.map(() => -Infinity);
    /** Milliseconds between two frames of the display, where that is known to be long. */
    this._period = 0;
    /** The step at which frames began to be late, without much work. */
    this._lateFrom = COARSEST;
    this._slowLooks = 0;
    this._forget();
  }

  /** Pixels. */
  get height() {
    return HEIGHTS[this._step];
  }

  /** Forgets the frames since the last look. */
  _forget() {
    this._frames = 0;
    this._cost = 0;
    this._interval = 0;
    this._mostCost = 0;
    this._mostInterval = 0;
    this._leastInterval = Infinity;
  }

  /**
   * Takes a frame; afterwards `height` may have changed.
   * @param {number} cost      milliseconds of its drawing
   * @param {number} interval  milliseconds since the one before; NaN for the first
   * @param {number} now       milliseconds
   * @param {number} most      pixels of the window's height
   * @param {boolean} webgl    whether it was drawn with WebGL2
   * @returns {boolean} whether WebGL2 is worth it
   */
  add(cost, interval, now, most, webgl) {
    // After a long time in which nothing was drawn: the page was hidden.
    if (Number.isNaN(interval) || (interval > LOOK_MS && cost < interval / 2)) return webgl;
    this._frames += 1;
    this._cost += cost;
    this._interval += interval;
    this._mostCost = Math.max(this._mostCost, cost);
    this._mostInterval = Math.max(this._mostInterval, interval);
    this._leastInterval = Math.min(this._leastInterval, interval);
    if (this._interval < LOOK_MS || this._frames < 3) return webgl;
    // Without the slowest one, which may be the first of a scene, or the first after a pause.
    const meanCost = (this._cost - this._mostCost) / (this._frames - 1);
    const meanInterval = (this._interval - this._mostInterval) / (this._frames - 1);
    const isEven = this._leastInterval > EVEN * meanInterval;
    this._forget();
    this._slowLooks = meanCost > SLOW_COST_MS && this._step === COARSEST ? this._slowLooks + 1 : 0;
    if (webgl && this._slowLooks >= SLOW_LOOKS) {
      this._step = FIRST_WITHOUT;
      this._slowAt.fill(-Infinity);
      return false;
    }
    this._choose(meanCost, meanInterval, isEven, now, most);
    return webgl;
  }

  /**
   * @param {number} cost
   * @param {number} interval
   * @param {boolean} isEven  whether the times between the frames are alike
   * @param {number} now
   * @param {number} most
   */
  _choose(cost, interval, isEven, now, most) {
    this._period = Math.min(this._period, interval);
    const isLate = interval > Math.max(SLOW_INTERVAL_MS, LATE_PERIODS * this._period);
    if (cost > SLOW_COST_MS) {
      this._coarser(now, most);
    } else if (!isLate) {
      this._lateFrom = COARSEST;
      const finer = this._step - 1;
      if (cost < QUICK_COST_MS && finer >= 0 && now - this._slowAt[finer] > RETRY_MS && this.height < most) {
        this._step = finer;
      }
    } else if (this._step < COARSEST) {
      this._lateFrom = Math.min(this._lateFrom, this._step);
      this._coarser(now, most);
    } else if (isEven) {
      // Little work, and still no sooner: the display takes no more frames.
      this._period = interval;
      this._slowAt.fill(-Infinity);
      this._step = this._lateFrom;
    }
  }

  /**
   * @param {number} now
   * @param {number} most
   */
  _coarser(now, most) {
    do {
      this._slowAt[this._step] = now;
      this._step = Math.min(this._step + 1, COARSEST);
    } while (this.height >= most && this._step < COARSEST);
  }
}
