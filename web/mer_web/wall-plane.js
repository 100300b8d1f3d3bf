/** The small plane of a tile: a field of colour, a short trail and the point. It draws only while something moves. */

import { Spring } from "./motion.js";
import { Surface, offscreen } from "./surface.js";
import { shownValues } from "./value-range.js";

const FIELD_STEPS = 36;
/** The place of -1 and 1, so that a point there is seen whole: a share of half the plane. */
const REACH = 0.9;
/** Seconds that the point takes to a new place: the server sends one each second. */
const SETTLE_S = 1.1;

export class WallPlane {
  /** @param {HTMLCanvasElement} canvas square */
  constructor(canvas) {
    this._surface = new Surface(canvas, () => this._invalidate());
    this._spring = new Spring(2);
    /** @type {import("./canvas-style.js").CanvasStyle|null} */
    this._style = null;
    /** @type {HTMLCanvasElement|null} */
    this._field = null;
    /** @type {import("./protocol.js").Estimate[]} */
    this._trail = [];
    this._live = false;
    this._shown = false;
    this._dirty = true;
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  setStyle(style) {
    this._style = style;
    this._invalidate();
  }

  _invalidate() {
    this._field = null;
    this._dirty = true;
  }

  /**
   * @param {import("./wall-tiles.js").Stream} stream
   * @param {boolean} jumps whether the point moves at once
   */
  show(stream, jumps) {
    if (!stream.estimate) return;
    const { valence, arousal } = shownValues(stream.estimate);
    this._spring.aim([valence, arousal], jumps);
    this._trail = stream.trail;
    this._live = stream.live;
    this._shown = true;
    this._dirty = true;
  }

  /** Where the point is drawn now, for tests. */
  get shown() {
    return this._shown ? { valence: this._spring.value[0], arousal: this._spring.value[1] } : null;
  }

  /** @param {number} seconds since the last frame */
  draw(seconds) {
    const moving = this._spring.moving;
    this._spring.step(seconds, SETTLE_S);
    const { context, width, height, visible } = this._surface;
    if (!this._style || !visible || (!moving && !this._dirty)) return;
    this._dirty = false;
    this._field ??= this._drawField(this._style, width, height);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._field, 0, 0);
    if (!this._shown) return;
    this._drawTrail(this._style);
    this._drawPoint(this._style);
  }

  /**
   * @param {number} valence
   * @returns {number} device pixels
   */
  _x(valence) {
    return ((valence * REACH + 1) / 2) * this._surface.width;
  }

  /**
   * @param {number} arousal
   * @returns {number} device pixels
   */
  _y(arousal) {
    return ((1 - arousal * REACH) / 2) * this._surface.height;
  }

  /**
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {number} width
   * @param {number} height
   * @returns {HTMLCanvasElement}
   */
  _drawField(style, width, height) {
    const { canvas, context } = offscreen(width, height);
    const small = offscreen(FIELD_STEPS, FIELD_STEPS);
    const image = small.context.createImageData(FIELD_STEPS, FIELD_STEPS);
    for (let row = 0; row < FIELD_STEPS; row += 1) {
      for (let column = 0; column < FIELD_STEPS; column += 1) {
        const valence = Math.max(-1, Math.min(1, ((2 * (column + 0.5)) / FIELD_STEPS - 1) / REACH));
        const arousal = Math.max(-1, Math.min(1, (1 - (2 * (row + 0.5)) / FIELD_STEPS) / REACH));
        const at = 4 * (row * FIELD_STEPS + column);
        image.data.set(style.palette.bytes(valence, arousal), at);
        image.data[at + 3] = Math.round(255 * (0.12 + 0.2 * Math.min(1, Math.hypot(valence, arousal))));
      }
    }
    small.context.putImageData(image, 0, 0);
    context.fillStyle = style.ground;
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(small.canvas, 0, 0, width, height);
    context.lineWidth = this._surface.ratio;
    context.strokeStyle = style.ink;
    context.globalAlpha = 0.22;
    context.beginPath();
    context.moveTo(0, height / 2);
    context.lineTo(width, height / 2);
    context.moveTo(width / 2, 0);
    context.lineTo(width / 2, height);
    context.stroke();
    return canvas;
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  _drawTrail(style) {
    const { context, width } = this._surface;
    const points = this._trail.map((estimate) => shownValues(estimate));
    context.lineCap = "round";
    for (let k = 1; k < points.length; k += 1) {
      const recency = k / points.length;
      const last = k === points.length - 1;
      // The trail ends where the point is shown, not at its target.
      const [valence, arousal] = last ? this._spring.value : [points[k].valence, points[k].arousal];
      context.globalAlpha = recency * (this._live ? 0.8 : 0.35);
      context.strokeStyle = style.palette.css(points[k].valence, points[k].arousal);
      context.lineWidth = width * (0.006 + 0.012 * recency);
      context.beginPath();
      context.moveTo(this._x(points[k - 1].valence), this._y(points[k - 1].arousal));
      context.lineTo(this._x(valence), this._y(arousal));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  _drawPoint(style) {
    const { context, width } = this._surface;
    const [valence, arousal] = this._spring.value;
    context.beginPath();
    context.arc(this._x(valence), this._y(arousal), width * 0.042, 0, 7);
    context.lineWidth = width * 0.016;
    if (this._live) {
      context.fillStyle = style.palette.css(valence, arousal);
      context.fill();
      context.strokeStyle = style.ink;
    } else {
      // As on the main page, a ring says that the values are not those of now.
      context.strokeStyle = style.muted;
    }
    context.stroke();
  }
}
