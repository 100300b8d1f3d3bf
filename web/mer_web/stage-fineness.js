/** Chooses how finely the picture of stage mode is drawn, from the times of its frames. */

/** Heights of the picture in pixels, from the finest; it is scaled to the window. */
export const HEIGHTS = [1080, 810, 600, 450, 340, 256];
/** The first one to try. */
const FIRST_WITH_WEBGL = 1;
const FIRST_WITHOUT = 3;
/** Milliseconds between two looks at the times. */
const LOOK_MS = 1000;
/** A frame that takes longer, or comes later, is drawn too finely; one that takes less may be drawn more finely. */
const SLOW_COST_MS = 12;
const SLOW_INTERVAL_MS = 21;
const QUICK_COST_MS = 4;
/** WebGL2 that takes so long is the work of the processor, which is quicker without it. */
const NO_WEBGL_COST_MS = 40;
/** So long after it was too fine, a height is not tried again. */
const RETRY_MS = 60_000;
/** Frames that still come as late with so many heights less come as the display takes them. */
const HEIGHTS_TO_TRY = 2;
const SOONER = 0.9;
const LATE = 1.25;

export class Fineness {
  /** @param {boolean} webgl  whether it is drawn with WebGL2 */
  constructor(webgl) {
    this.webgl = webgl;
    this._step = webgl ? FIRST_WITH_WEBGL : FIRST_WITHOUT;
    /** When each height was too fine. */
    this._slowAt = HEIGHTS.map(() => -Infinity);
    /** The display's own time between frames, where it is long. */
    this._pace = 0;
    /** The height and the time between frames when they began to be late. @type {{step: number, interval: number}|null} */
    this._late = null;
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
  }

  /**
   * Takes a frame; afterwards `height` and `webgl` may have changed.
   * @param {number} cost      milliseconds of its drawing
   * @param {number} interval  milliseconds since the one before; NaN for the first
   * @param {number} now       milliseconds
   * @param {number} most      pixels of the window's height
   */
  add(cost, interval, now, most) {
    // A long time in which nothing was drawn: the page was hidden.
    if (Number.isNaN(interval) || (interval > LOOK_MS && cost < interval / 2)) return;
    this._frames += 1;
    this._cost += cost;
    this._interval += interval;
    this._mostCost = Math.max(this._mostCost, cost);
    this._mostInterval = Math.max(this._mostInterval, interval);
    if (this._interval < LOOK_MS || this._frames < 3) return;
    // Without the slowest one, which may be the first of a scene, or the first after a pause.
    const meanCost = (this._cost - this._mostCost) / (this._frames - 1);
    const meanInterval = (this._interval - this._mostInterval) / (this._frames - 1);
    this._forget();
    if (this.webgl && meanCost > NO_WEBGL_COST_MS) {
      this.webgl = false;
      this._step = Math.max(this._step, FIRST_WITHOUT);
    } else {
      this._choose(meanCost, meanInterval, now, most);
    }
  }

  /**
   * @param {number} cost
   * @param {number} interval
   * @param {number} now
   * @param {number} most
   */
  _choose(cost, interval, now, most) {
    if (interval < SLOW_INTERVAL_MS) this._pace = 0;
    const isLate = interval > Math.max(SLOW_INTERVAL_MS, LATE * this._pace);
    if (cost > SLOW_COST_MS) {
      this._late = null;
      this._coarser(now);
    } else if (isLate) {
      this._late ??= { step: this._step, interval };
      const { step, interval: before } = this._late;
      const isLast = this._step === HEIGHTS.length - 1;
      if (this._step > step && (isLast || this._step >= step + HEIGHTS_TO_TRY) && interval > SOONER * before) {
        this._pace = interval;
        this._step = step;
        this._late = null;
      } else {
        this._coarser(now);
      }
    } else {
      this._late = null;
      const finer = this._step - 1;
      if (cost < QUICK_COST_MS && finer >= 0 && now - this._slowAt[finer] > RETRY_MS && this.height < most) {
        this._step = finer;
      }
    }
  }

  /** @param {number} now */
  _coarser(now) {
    this._slowAt[this._step] = now;
    this._step = Math.min(this._step + 1, HEIGHTS.length - 1);
  }
}
