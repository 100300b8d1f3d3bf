/**
 * The valence-arousal plane: a colour field with mood words, and on it the point, its interval and its trail.
 * The field is drawn once for each size, theme and mood; a frame draws only what moves.
 */

import { CENTRE, PLACES } from "./mood.js";
import { Spring } from "./motion.js";
import { STATES } from "./protocol.js";
import { stateCode } from "./history.js";
import { Surface, offscreen } from "./surface.js";
import { TRAIL_S, trailIndices } from "./trail.js";

const [SILENCE, SETTLING, , STALLED] = STATES.map(stateCode);

/** Radius within which the server calls a place neutral. */
const NEUTRAL_RADIUS = 0.08;
const FIELD_STEPS = 72;
/** A mood or state stands at least so long: below three flashes a second whatever the music does. */
const LEAST_MS = 240;

/**
 * @typedef {object} Plot  device pixels
 * @property {number} x       left edge of the plane
 * @property {number} y       top edge
 * @property {number} size
 * @property {number} text    height of words
 * @property {number} radius  of the corners
 * @property {number} gutter  room for the names of the axes
 */

export class Plane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./history.js").History} history
   */
  constructor(canvas, history) {
    this._history = history;
    /** @type {import("./look.js").Look|null} */
    this._look = null;
    /** @type {HTMLCanvasElement|null} */
    this._field = null;
    /** valence, arousal, and the four ends of the interval, as shown. */
    this._spring = new Spring(6);
    /** Fast valence and arousal, as shown. */
    this._fastSpring = new Spring(2);
    this._hasFast = false;
    this._mood = "";
    this._state = -1;
    this._turned = -Infinity;
    this._settle = 0.9;
    this._dirty = true;
    this.reducedMotion = false;
    this._surface = new Surface(canvas, () => this._forget());
    this._plot = this._measure();
  }

  /** @param {import("./look.js").Look} look */
  setLook(look) {
    this._look = look;
    this._forget();
  }

  _forget() {
    this._field = null;
    this._dirty = true;
    this._plot = this._measure();
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} hop seconds between estimates
   * @param {number} now milliseconds
   */
  show(estimate, hop, now) {
    this._settle = Math.max(0.15, Math.min(1.1, hop * 1.1));
    this._spring.aim([
      estimate.valence, estimate.arousal, estimate.valence_low, estimate.valence_high,
      estimate.arousal_low, estimate.arousal_high,
    ], this.reducedMotion);
    const { fast } = estimate;
    if (fast) this._fastSpring.aim([fast.valence, fast.arousal], this.reducedMotion);
    else this._fastSpring.reset();
    this._hasFast = fast !== undefined;
    this._dirty = true;
    const state = stateCode(estimate.state);
    if (estimate.mood === this._mood && state === this._state) return;
    // Nothing may flash: what turns on and off waits; ten times a second is too often.
    if (this._state >= 0 && now - this._turned < LEAST_MS) return;
    this._turned = now;
    if (estimate.mood !== this._mood) this._field = null;
    this._mood = estimate.mood;
    this._state = state;
  }

  /** What is shown is not of now any more: the point becomes a ring, as in silence. */
  hold() {
    if (this._state < 0) return;
    this._state = SILENCE;
    this._dirty = true;
  }

  /** Another stream: the point does not travel there, it appears. */
  leap() {
    this._spring.reset();
    this._fastSpring.reset();
    this._hasFast = false;
    this._state = -1;
    this._dirty = true;
  }

  /** Where the point is drawn now, for tests and for the curious. */
  get shown() {
    return { valence: this._spring.value[0], arousal: this._spring.value[1] };
  }

  /** Where the hollow point of the fast values is drawn now; null where there is none. */
  get shownFast() {
    if (!this._showsFast) return null;
    return { valence: this._fastSpring.value[0], arousal: this._fastSpring.value[1] };
  }

  /** Held values tell of nothing new, and an overlay's viewers have nobody to explain a second point. */
  get _showsFast() {
    return this._hasFast && !this._look?.overlay && this._state !== SILENCE && this._state !== STALLED;
  }

  /**
   * @param {number} seconds since the frame before
   * @param {number} end     one past the newest index of the history to show
   * @param {number} now     seconds of the view's clock
   * @returns {boolean} whether anything was drawn
   */
  draw(seconds, end, now) {
    if (!this._look) return false;
    const moving = this._spring.moving || this._fastSpring.moving;
    this._spring.step(seconds, this._settle);
    this._fastSpring.step(seconds, this._settle);
    const { context, width, height, visible } = this._surface;
    if (!visible || (!moving && !this._dirty)) return false;
    this._dirty = false;
    if (!this._field) this._field = this._drawField(this._look);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._field, 0, 0);
    if (this._state >= 0) {
      context.save();
      const plot = this._plot;
      context.beginPath();
      context.roundRect(plot.x, plot.y, plot.size, plot.size, plot.radius);
      context.clip();
      this._drawTrail(this._look, end, now);
      this._drawInterval(this._look);
      if (this._showsFast) this._drawFast(this._look);
      this._drawPoint(this._look);
      context.restore();
    }
    return true;
  }

  /** @returns {Plot} */
  _measure() {
    const { width, height, ratio } = this._surface;
    const css = Math.min(width, height) / ratio;
    const text = Math.max(10.5, Math.min(26, 6 + css * 0.0155)) * ratio;
    const gutter = this._look?.overlay ? 2 * ratio : text * 1.9;
    const size = Math.floor(Math.min(width - gutter - ratio, height - gutter - ratio));
    return { x: Math.round((width - size - gutter) / 2 + gutter), y: Math.round((height - size - gutter) / 2),
             size, text, radius: Math.max(0, size * 0.035), gutter };
  }

  /**
   * @param {number} valence
   * @returns {number} device pixels
   */
  _x(valence) {
    const plot = this._plot;
    return plot.x + ((valence + 1) / 2) * plot.size;
  }

  /**
   * @param {number} arousal
   * @returns {number} device pixels
   */
  _y(arousal) {
    const plot = this._plot;
    return plot.y + ((1 - arousal) / 2) * plot.size;
  }

  /**
   * @param {import("./look.js").Look} look
   * @returns {HTMLCanvasElement}
   */
  _drawField(look) {
    const { width, height, ratio } = this._surface;
    const { canvas, context } = offscreen(width, height);
    const plot = this._plot;
    const { x, y, size, radius } = plot;
    const dark = look.theme === "dark";
    context.save();
    context.beginPath();
    context.roundRect(x, y, size, size, radius);
    context.clip();
    context.globalAlpha = look.overlay ? 0.72 : 1;
    context.fillStyle = look.ground;
    context.fillRect(x, y, size, size);
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this._colours(look, dark), x, y, size, size);
    context.restore();

    // Axes, and a circle at half way: enough to read a place by, little enough to forget.
    context.lineWidth = ratio;
    context.strokeStyle = look.ink;
    context.globalAlpha = dark ? 0.2 : 0.24;
    context.beginPath();
    context.moveTo(x, y + size / 2);
    context.lineTo(x + size, y + size / 2);
    // It stops short of the words that stand in its way.
    context.moveTo(x + size / 2, y + plot.text * 2.5);
    context.lineTo(x + size / 2, y + size - plot.text * 2.5);
    context.stroke();
    context.globalAlpha = dark ? 0.11 : 0.14;
    context.beginPath();
    context.arc(x + size / 2, y + size / 2, size / 4, 0, 7);
    context.moveTo(x + size / 2 + (NEUTRAL_RADIUS * size) / 2, y + size / 2);
    context.arc(x + size / 2, y + size / 2, (NEUTRAL_RADIUS * size) / 2, 0, 7);
    context.stroke();
    context.globalAlpha = 1;
    context.strokeStyle = look.line;
    context.beginPath();
    context.roundRect(x, y, size, size, radius);
    context.stroke();

    this._drawWords(context, look, plot);
    if (!look.overlay) this._drawAxes(context, look, plot);
    return canvas;
  }

  /**
   * @param {import("./look.js").Look} look
   * @param {boolean} dark
   * @returns {HTMLCanvasElement} the colours of the plane, faint in the middle, fuller at the edge
   */
  _colours(look, dark) {
    const { canvas, context } = offscreen(FIELD_STEPS, FIELD_STEPS);
    const image = context.createImageData(FIELD_STEPS, FIELD_STEPS);
    for (let row = 0; row < FIELD_STEPS; row += 1) {
      for (let column = 0; column < FIELD_STEPS; column += 1) {
        const valence = (2 * (column + 0.5)) / FIELD_STEPS - 1;
        const arousal = 1 - (2 * (row + 0.5)) / FIELD_STEPS;
        const far = Math.min(1, Math.hypot(valence, arousal) / 1.3);
        const eased = far * far * (3 - 2 * far);
        const alpha = dark ? 0.05 + 0.4 * eased : 0.05 + 0.34 * eased;
        const at = 4 * (row * FIELD_STEPS + column);
        const bytes = look.palette.bytes(valence, arousal);
        image.data[at] = bytes[0];
        image.data[at + 1] = bytes[1];
        image.data[at + 2] = bytes[2];
        image.data[at + 3] = Math.round(255 * alpha);
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   */
  _drawWords(context, look, plot) {
    context.textBaseline = "middle";
    for (const place of PLACES) {
      const current = place.word === this._mood;
      context.font = `${current ? 600 : 400} ${plot.text * 1.12}px ${look.font}`;
      context.textAlign = place.align;
      context.fillStyle = current ? look.palette.ink(place.valence, place.arousal) : look.ink;
      context.globalAlpha = current ? 1 : 0.74;
      const inset = (1 - 0.9) * plot.size * 0.5 - plot.text * 1.35;
      const shift = place.align === "left" ? -inset : place.align === "right" ? inset : 0;
      const lift = place.arousal > 0.5 ? -inset : place.arousal < -0.5 ? inset : 0;
      // The words on the axes stand beside the line, not on it.
      const beside = place.arousal === 0 ? -plot.text * 0.95 : 0;
      const x = plot.x + ((place.valence + 1) / 2) * plot.size + shift;
      const y = plot.y + ((1 - place.arousal) / 2) * plot.size + lift + beside;
      context.fillText(place.word, x, y);
    }
    if (this._mood === CENTRE) {
      context.textAlign = "left";
      context.globalAlpha = 1;
      context.fillStyle = look.ink;
      context.font = `600 ${plot.text * 1.12}px ${look.font}`;
      const r = (NEUTRAL_RADIUS * plot.size) / 2;
      context.fillText(CENTRE, plot.x + plot.size / 2 + r * 0.9, plot.y + plot.size / 2 + r * 0.9 + plot.text * 0.6);
    }
    context.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   */
  _drawAxes(context, look, plot) {
    const { x, y, size, text, gutter } = plot;
    context.fillStyle = look.muted;
    context.font = `400 ${text}px ${look.font}`;
    context.textBaseline = "middle";
    const side = (/** @type {string} */ low, /** @type {string} */ name, /** @type {string} */ high) => {
      context.textAlign = "left";
      context.fillText(low, plot.radius * 0.5, 0);
      context.textAlign = "right";
      context.fillText(high, size - plot.radius * 0.5, 0);
      context.textAlign = "center";
      context.fillStyle = look.ink;
      context.fillText(name, size / 2, 0);
      context.fillStyle = look.muted;
    };
    context.save();
    context.translate(x, y + size + gutter * 0.55);
    side("−1 unpleasant", "valence", "pleasant +1");
    context.restore();
    context.save();
    context.translate(x - gutter * 0.55, y + size);
    context.rotate(-Math.PI / 2);
    side("−1 low energy", "arousal", "high energy +1");
    context.restore();
  }

  /**
   * @param {import("./look.js").Look} look
   * @param {number} end
   * @param {number} now
   */
  _drawTrail(look, end, now) {
    const history = this._history;
    const indices = trailIndices(history, end, now);
    if (indices.length < 2) return;
    const { context, ratio } = this._surface;
    const plot = this._plot;
    const held = this._state === SILENCE || this._state === STALLED;
    const xs = indices.map((i) => this._x(history.valence[history.slot(i)]));
    const ys = indices.map((i) => this._y(history.arousal[history.slot(i)]));
    // The trail ends where the point is shown, not where it is heading.
    xs[xs.length - 1] = this._x(this._spring.value[0]);
    ys[ys.length - 1] = this._y(this._spring.value[1]);
    // Translucent pieces with round ends would show a bead at each joint.
    context.lineCap = "butt";
    for (let k = 1; k < indices.length; k += 1) {
      const slot = history.slot(indices[k]);
      const age = Math.max(0, Math.min(1, (now - history.time[slot]) / TRAIL_S));
      const fresh = (1 - age) ** 1.6;
      context.strokeStyle = look.palette.translucent(
        history.valence[slot], history.arousal[slot], fresh * (held ? 0.4 : 0.85));
      context.lineWidth = ratio * (0.8 + fresh * plot.size / ratio * 0.01);
      const startX = k === 1 ? xs[0] : (xs[k - 1] + xs[k - 2]) / 2;
      const startY = k === 1 ? ys[0] : (ys[k - 1] + ys[k - 2]) / 2;
      const last = k === indices.length - 1;
      context.beginPath();
      context.moveTo(startX, startY);
      context.quadraticCurveTo(xs[k - 1], ys[k - 1], (xs[k] + xs[k - 1]) / 2, (ys[k] + ys[k - 1]) / 2);
      if (last) context.lineTo(xs[k], ys[k]);
      context.stroke();
    }
  }

  /** @param {import("./look.js").Look} look */
  _drawInterval(look) {
    const { context, ratio } = this._surface;
    const [valence, arousal, vLow, vHigh, aLow, aHigh] = this._spring.value;
    const x = this._x(valence);
    const y = this._y(arousal);
    const left = Math.max(1, x - this._x(vLow));
    const right = Math.max(1, this._x(vHigh) - x);
    const up = Math.max(1, y - this._y(aHigh));
    const down = Math.max(1, this._y(aLow) - y);
    // Four quarters of ellipses, for the interval may be longer on one side.
    context.beginPath();
    context.ellipse(x, y, right, down, 0, 0, Math.PI / 2);
    context.ellipse(x, y, left, down, 0, Math.PI / 2, Math.PI);
    context.ellipse(x, y, left, up, 0, Math.PI, Math.PI * 1.5);
    context.ellipse(x, y, right, up, 0, Math.PI * 1.5, Math.PI * 2);
    context.closePath();
    const held = this._state === SILENCE || this._state === STALLED;
    const glow = context.createRadialGradient(x, y, 0, x, y, Math.max(left, right, up, down));
    const strength = held ? 0.5 : 1;
    glow.addColorStop(0, look.palette.translucent(valence, arousal, 0.4 * strength));
    glow.addColorStop(0.7, look.palette.translucent(valence, arousal, 0.17 * strength));
    glow.addColorStop(1, look.palette.translucent(valence, arousal, 0.1 * strength));
    context.fillStyle = glow;
    context.fill();
    context.lineWidth = 1.25 * ratio;
    context.setLineDash(this._state === SETTLING ? [5 * ratio, 5 * ratio] : []);
    context.strokeStyle = look.palette.translucent(valence, arousal, 0.7 * strength);
    context.stroke();
    context.setLineDash([]);
  }

  /**
   * A small ring on a thread, below the point: where both answers agree there is one point and nothing else.
   * @param {import("./look.js").Look} look
   */
  _drawFast(look) {
    const { context, ratio } = this._surface;
    const x = this._x(this._fastSpring.value[0]);
    const y = this._y(this._fastSpring.value[1]);
    const away = { x: x - this._x(this._spring.value[0]), y: y - this._y(this._spring.value[1]) };
    const distance = Math.hypot(away.x, away.y);
    const radius = Math.max(4 * ratio, this._plot.size * 0.0105);
    context.strokeStyle = look.theme === "dark" ? "#ffffff" : look.ink;
    if (distance > radius) {
      const reach = radius / distance;
      context.globalAlpha = 0.4;
      context.lineWidth = ratio;
      context.beginPath();
      context.moveTo(x - away.x, y - away.y);
      context.lineTo(x - away.x * reach, y - away.y * reach);
      context.stroke();
    }
    context.globalAlpha = 0.45;
    context.fillStyle = look.ground;
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fill();
    context.globalAlpha = 0.9;
    context.lineWidth = Math.max(1.5 * ratio, radius * 0.26);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** @param {import("./look.js").Look} look */
  _drawPoint(look) {
    const { context, ratio } = this._surface;
    const [valence, arousal] = this._spring.value;
    const x = this._x(valence);
    const y = this._y(arousal);
    const radius = Math.max(6 * ratio, this._plot.size * 0.0165);
    const held = this._state === SILENCE || this._state === STALLED;
    if (!held) {
      const halo = context.createRadialGradient(x, y, radius * 0.6, x, y, radius * 4.2);
      halo.addColorStop(0, look.palette.translucent(valence, arousal, look.theme === "dark" ? 0.55 : 0.4));
      halo.addColorStop(1, look.palette.translucent(valence, arousal, 0));
      context.fillStyle = halo;
      context.beginPath();
      context.arc(x, y, radius * 4.2, 0, 7);
      context.fill();
    }
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fillStyle = held ? look.ground : look.palette.css(valence, arousal);
    context.fill();
    context.lineWidth = radius * 0.3;
    context.strokeStyle = held ? look.muted : look.theme === "dark" ? "#ffffff" : look.ink;
    context.stroke();
    if (this._state === STALLED) {
      const arm = radius * 0.42;
      context.beginPath();
      context.moveTo(x - arm, y - arm);
      context.lineTo(x + arm, y + arm);
      context.moveTo(x + arm, y - arm);
      context.lineTo(x - arm, y + arm);
      context.stroke();
    }
  }
}
