/**
 * The colour of the mood over the whole picture: more at the edges, and where the pieces of the overlay lie.
 *
 * It is painted small and stretched. In full size, its gradients would take longer than a frame where a graphics card
 * is missing.
 */

const WIDTH = 160;
const HEIGHT = 90;
/** Steps of the breath that are smaller cannot be seen. */
const VISIBLE = 0.004;

export class Wash {
  /**
   * @param {string} side  words of top, bottom, left, right and center: where the wash is strongest
   */
  constructor(side) {
    this._canvas = document.createElement("canvas");
    this._canvas.width = WIDTH;
    this._canvas.height = HEIGHT;
    /** The element; its CSS property `color` is the colour of the wash. */
    this.element = document.createElement("div");
    this.element.className = "overlay-wash";
    this.element.append(this._canvas);
    this._style = getComputedStyle(this.element);
    const context = this._canvas.getContext("2d");
    if (!context) throw new Error("this browser has no 2D canvas");
    this._context = context;
    this._base = gradient(context, [[0, 0.3], [1, 0.8]]);
    this._glow = gradient(context, [[0, 1], [0.45, 0.5], [1, 0]]);
    const has = (/** @type {string} */ word) => side.split(" ").includes(word);
    this._x = has("left") ? -0.5 : has("right") ? 0.5 : 0;
    this._y = has("top") ? -0.5 : has("bottom") ? 0.5 : 0;
    this._breath = NaN;
    this._colour = "";
  }

  /**
   * Paints what has changed.
   * @param {number} breath  0 to 1
   */
  draw(breath) {
    const colour = this._style.color;
    if (Math.abs(breath - this._breath) < VISIBLE && colour === this._colour) return;
    this._breath = breath;
    this._colour = colour;
    const context = this._context;
    context.globalCompositeOperation = "copy";
    context.globalAlpha = 1;
    this._fill(this._base, 0, 0, Math.SQRT1_2, Math.SQRT1_2);
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 0.4 + 0.6 * breath;
    const size = 1.12 * (0.94 + 0.12 * breath);
    this._fill(this._glow, this._x * size, this._y * size, 0.75 * size, 0.95 * size);
    context.globalCompositeOperation = "source-in";
    context.globalAlpha = 1;
    this._fill(colour, 0, 0, 1, 1);
  }

  /**
   * Fills the picture.
   * @param {string|CanvasGradient} fill  a gradient has the radius 1 around 0, 0
   * @param {number} x  centre of the gradient, as a share of the picture's width from its middle
   * @param {number} y
   * @param {number} radiusX  as a share of the picture's width
   * @param {number} radiusY
   */
  _fill(fill, x, y, radiusX, radiusY) {
    const context = this._context;
    context.setTransform(radiusX * WIDTH, 0, 0, radiusY * HEIGHT, (0.5 + x) * WIDTH, (0.5 + y) * HEIGHT);
    context.fillStyle = fill;
    context.fillRect((-0.5 - x) / radiusX, (-0.5 - y) / radiusY, 1 / radiusX, 1 / radiusY);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number][]} stops  radius and opacity
 * @returns {CanvasGradient} of black, around 0, 0
 */
function gradient(context, stops) {
  const made = context.createRadialGradient(0, 0, 0, 0, 0, 1);
  for (const [radius, opacity] of stops) made.addColorStop(radius, `rgba(0, 0, 0, ${opacity})`);
  return made;
}
