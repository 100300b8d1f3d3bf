/** A canvas whose pixels match the screen's, with a callback for changes of its size. */

/** @typedef {CanvasRenderingContext2D} Context */

/** Maximum device pixels per CSS pixel: more cost time and are not visible. */
const MAX_RATIO = 3;

/**
 * @param {number} width   device pixels
 * @param {number} height
 * @returns {{canvas: HTMLCanvasElement, context: Context}}
 */
export function offscreen(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  return { canvas, context: /** @type {Context} */ (canvas.getContext("2d")) };
}

export class Surface {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} resized
   */
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = /** @type {Context} */ (canvas.getContext("2d"));
    this.ratio = 1;
    this._fit();
    new ResizeObserver(() => {
      if (this._fit()) resized();
    }).observe(canvas);
  }

  get width() {
    return this.canvas.width;
  }

  get height() {
    return this.canvas.height;
  }

  /** Whether it is large enough to draw on; a hidden canvas has no size. */
  get visible() {
    return Math.min(this.width, this.height) > 24 * this.ratio;
  }

  /** @returns {boolean} whether the size has changed */
  _fit() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = Math.min(MAX_RATIO, window.devicePixelRatio || 1);
    const width = Math.max(1, Math.round(box.width * ratio));
    const height = Math.max(1, Math.round(box.height * ratio));
    if (width === this.canvas.width && height === this.canvas.height && ratio === this.ratio) return false;
    this.ratio = ratio;
    this.canvas.width = width;
    this.canvas.height = height;
    return true;
  }
}
