/**
 * The valence-arousal plane: a colour field with mood words; on it the point, its interval and its trail.
 * The field is drawn once for each size, theme and mood. A frame draws only what moves: glow, trail and point breathe
 * with the music.
 */

import { Breath } from "./breath.js";
import { CENTRE, MOOD_LABELS } from "./mood.js";
import { Spring } from "./motion.js";
import { STATES, repeats } from "./protocol.js";
import { stateCode } from "./history.js";
import { levelOf } from "./pulse.js";
import { Surface, offscreen } from "./surface.js";
import { TRAIL_S, trailIndices } from "./trail.js";
import { axisName, shownValues } from "./value-range.js";

const [SILENCE, SETTLING, , STALLED] = STATES.map(stateCode);

const FIELD_STEPS = 72;
/** Width of the switch of the range, as a multiple of the font size. */
const SWITCH_WIDTH = 11;
/** Width of the picture of the glow, which is drawn larger. */
const GLOW_STEPS = 128;
/** Fades of the glow from its middle to its rim: [place, alpha]. */
const GLOW = [[0, 1], [0.25, 0.62], [0.5, 0.27], [0.75, 0.07], [1, 0]];
/** A target of more places than this is drawn without a dot at each. */
const MAX_DOTS = 24;
/** Least time that a state is shown: keeps below three flashes a second for any input. */
const MIN_INTERVAL_MS = 240;

/**
 * @typedef {object} Plot  device pixels
 * @property {number} x       left edge of the plane
 * @property {number} y       top edge
 * @property {number} size
 * @property {number} text    font size
 * @property {number} radius  of the corners
 * @property {number} gutter  space for the names of the axes
 */

/**
 * @param {import("./protocol.js").AxisValues} values
 * @returns {number[]}
 */
function inOrder(values) {
  return [
    values.valence, values.arousal, values.valence_low, values.valence_high, values.arousal_low, values.arousal_high,
  ];
}

export class Plane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./history.js").History} history
   */
  constructor(canvas, history) {
    this._history = history;
    /** @type {import("./canvas-style.js").CanvasStyle|null} */
    this._style = null;
    /** @type {HTMLCanvasElement|null} */
    this._field = null;
    /** Valence, arousal and the four interval bounds, as shown. */
    this._spring = new Spring(6);
    /** Fast valence and arousal, as shown. */
    this._fastSpring = new Spring(2);
    this._hasFast = false;
    /** Where a person would tap, with its interval, as shown. */
    this._personalSpring = new Spring(6);
    this._hasPersonal = false;
    this._mood = "";
    this._hasSwitch = false;
    this._breath = new Breath();
    this._glow = offscreen(GLOW_STEPS, GLOW_STEPS);
    this._glowColour = "";
    /** @type {import("./target.js").Target|null} */
    this._target = null;
    /** Where the point should be now. @type {import("./target.js").Place|null} */
    this._aim = null;
    this._state = -1;
    this._changedAt = -Infinity;
    this._settleTime = 0.9;
    this._dirty = true;
    this.reducedMotion = false;
    this._surface = new Surface(canvas, () => this._invalidate());
    this._plot = this._measure();
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  setStyle(style) {
    this._style = style;
    this._invalidate();
  }

  /** @param {boolean} hasSwitch whether a switch of the range takes the place of a name on the horizontal axis */
  setRange(hasSwitch) {
    this._hasSwitch = hasSwitch;
    this._field = null;
    this._dirty = true;
  }

  /** @param {import("./target.js").Target|null} target the way that the point is meant to take */
  setTarget(target) {
    this._target = target;
    this._aim = null;
    this._field = null;
    this._dirty = true;
  }

  /** @param {import("./target.js").Place} aim where the point should be now */
  setAim(aim) {
    this._aim = aim;
    this._dirty = true;
  }

  _invalidate() {
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
    this._settleTime = Math.max(0.15, Math.min(1.1, hop * 1.1));
    const main = shownValues(estimate);
    this._spring.aim(inOrder(main), this.reducedMotion);
    const fast = estimate.fast && shownValues(estimate.fast);
    if (fast) this._fastSpring.aim([fast.valence, fast.arousal], this.reducedMotion);
    else this._fastSpring.reset();
    this._hasFast = fast !== undefined;
    this._dirty = true;
    const state = stateCode(estimate.state);
    if (state === this._state) return;
    // Nothing may flash: a change that follows another too quickly is skipped.
    if (this._state >= 0 && now - this._changedAt < MIN_INTERVAL_MS) return;
    this._changedAt = now;
    this._state = state;
  }

  /** @param {string} mood the word that the page shows: it stands out on the plane */
  setMood(mood) {
    if (mood === this._mood) return;
    this._mood = mood;
    this._field = null;
    this._dirty = true;
  }

  /** The mood that stands out, for tests. */
  get mood() {
    return this._mood;
  }

  /** @param {import("./protocol.js").AxisValues|null} values where a person would tap; null for nothing */
  showPersonal(values) {
    if (values) this._personalSpring.aim(inOrder(values), this.reducedMotion);
    else this._personalSpring.reset();
    if (values || this._hasPersonal) this._dirty = true;
    this._hasPersonal = values !== null;
  }

  /** The values shown are no longer current: the point becomes a ring, as in silence. */
  freeze() {
    if (this._state < 0) return;
    this._state = SILENCE;
    this._dirty = true;
  }

  /** For another stream: the point appears at its first estimate instead of moving there. */
  reset() {
    this._spring.reset();
    this._fastSpring.reset();
    this._hasFast = false;
    this.showPersonal(null);
    this._state = -1;
    this._dirty = true;
  }

  /** Where the point is drawn now, for tests. */
  get shown() {
    return { valence: this._spring.value[0], arousal: this._spring.value[1] };
  }

  /** Where the hollow point of the fast values is drawn now; null where there is none. */
  get shownFast() {
    if (!this._showsFast) return null;
    return { valence: this._fastSpring.value[0], arousal: this._fastSpring.value[1] };
  }

  /** Where the ring of a person's map is drawn now; null where there is none. */
  get shownPersonal() {
    if (!this._showsPersonal) return null;
    return { valence: this._personalSpring.value[0], arousal: this._personalSpring.value[1] };
  }

  get _showsPersonal() {
    return this._hasPersonal && !this._style?.overlay && !this._frozen;
  }

  /**
   * @param {number} clientX  of a pointer
   * @param {number} clientY
   * @returns {{valence: number, arousal: number}|null} the place on the plane; null beside it
   */
  valueAt(clientX, clientY) {
    const { canvas, ratio } = this._surface;
    const box = canvas.getBoundingClientRect();
    const { x, y, size, text } = this._plot;
    const valence = (2 * ((clientX - box.left) * ratio - x)) / size - 1;
    const arousal = 1 - (2 * ((clientY - box.top) * ratio - y)) / size;
    // A finger at the edge means the edge.
    if (Math.max(Math.abs(valence), Math.abs(arousal)) > 1 + (2 * text) / size) return null;
    return { valence: Math.max(-1, Math.min(1, valence)), arousal: Math.max(-1, Math.min(1, arousal)) };
  }

  /**
   * @param {number} valence
   * @param {number} arousal
   * @returns {{left: number, top: number}} shares of the canvas
   */
  positionOf(valence, arousal) {
    const { width, height } = this._surface;
    return { left: this._x(valence) / width, top: this._y(arousal) / height };
  }

  /** Where the name of the horizontal axis is, in CSS pixels of the canvas, and its size. */
  get axisMiddle() {
    const { ratio } = this._surface;
    const { x, y, size, gutter, text } = this._plot;
    return { left: (x + size / 2) / ratio, top: (y + size + gutter * 0.55) / ratio, text: text / ratio };
  }

  /** How the plane breathes now, for tests. */
  get breath() {
    return this._breath;
  }

  /** Not while values are frozen, and not in an overlay, whose viewers get no explanation of it. */
  get _showsFast() {
    return this._hasFast && !this._style?.overlay && !this._frozen;
  }

  get _frozen() {
    return repeats(STATES[this._state] ?? "");
  }

  /**
   * @param {number} seconds since the last frame
   * @param {number} end     one past the newest index of the history to show
   * @param {number} now     server time in seconds
   * @param {import("./pulse.js").PulseState|null} [pulse]  of the music; null while the view is paused
   * @returns {boolean} whether anything was drawn
   */
  draw(seconds, end, now, pulse = null) {
    if (!this._style) return false;
    const moving = this._spring.moving || this._fastSpring.moving || this._personalSpring.moving;
    this._spring.step(seconds, this._settleTime);
    this._fastSpring.step(seconds, this._settleTime);
    this._personalSpring.step(seconds, this._settleTime);
    const isMusic = this._state >= 0 && !this._frozen;
    if (this.reducedMotion) this._breath.rest(isMusic);
    else this._breath.step(seconds, pulse, isMusic);
    const { context, width, height, visible } = this._surface;
    if (!visible || (!moving && !this._breath.moving && !this._dirty)) return false;
    this._dirty = false;
    if (!this._field) this._field = this._drawField(this._style);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._field, 0, 0);
    if (this._state >= 0) {
      context.save();
      const plot = this._plot;
      context.beginPath();
      context.roundRect(plot.x, plot.y, plot.size, plot.size, plot.radius);
      context.clip();
      this._drawGlow(this._style);
      this._drawInterval(this._style);
      this._drawTrail(this._style, end, now);
      if (this._target && this._aim && !this._style.overlay) this._drawAim(this._style, this._aim);
      this._drawRing(this._style);
      context.restore();
      // What has a place at the edge of the plane is drawn whole.
      if (this._showsPersonal) this._drawPersonal(this._style);
      if (this._showsFast) this._drawFast(this._style);
      this._drawPoint(this._style);
    }
    return true;
  }

  /** @returns {Plot} */
  _measure() {
    const { width, height, ratio } = this._surface;
    const css = Math.min(width, height) / ratio;
    const text = Math.max(10.5, Math.min(40, 6 + css * 0.0175)) * ratio;
    // A point on the edge of the plane is seen whole.
    const margin = Math.max(9, css * 0.025) * ratio;
    const gutter = this._style?.overlay ? margin : text * 1.9;
    const size = Math.floor(Math.min(width, height) - gutter - margin);
    return { x: Math.round((width - size - gutter - margin) / 2 + gutter),
             y: Math.round((height - size - gutter - margin) / 2 + margin),
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
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @returns {HTMLCanvasElement}
   */
  _drawField(style) {
    const { width, height, ratio } = this._surface;
    const { canvas, context } = offscreen(width, height);
    const plot = this._plot;
    const { x, y, size, radius } = plot;
    const dark = style.theme === "dark";
    context.save();
    context.beginPath();
    context.roundRect(x, y, size, size, radius);
    context.clip();
    context.globalAlpha = style.overlay ? 0.72 : 1;
    context.fillStyle = style.ground;
    context.fillRect(x, y, size, size);
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this._colours(style, dark), x, y, size, size);
    context.restore();

    // Axes, and a circle at half range.
    context.lineWidth = ratio;
    context.strokeStyle = style.ink;
    context.globalAlpha = dark ? 0.2 : 0.24;
    context.beginPath();
    context.moveTo(x, y + size / 2);
    context.lineTo(x + size, y + size / 2);
    // It stops short of the words above and below.
    context.moveTo(x + size / 2, y + plot.text * 2.5);
    context.lineTo(x + size / 2, y + size - plot.text * 2.5);
    context.stroke();
    context.globalAlpha = dark ? 0.11 : 0.14;
    context.beginPath();
    context.arc(x + size / 2, y + size / 2, size / 4, 0, 7);
    context.stroke();
    context.globalAlpha = 1;
    context.strokeStyle = style.line;
    context.beginPath();
    context.roundRect(x, y, size, size, radius);
    context.stroke();

    this._drawWords(context, style, plot);
    if (this._target && !style.overlay) this._drawTarget(context, style, this._target.points);
    if (!style.overlay) this._drawAxes(context, style, plot);
    return canvas;
  }

  /**
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {boolean} dark
   * @returns {HTMLCanvasElement} the colours of the plane, stronger at the edge
   */
  _colours(style, dark) {
    const { canvas, context } = offscreen(FIELD_STEPS, FIELD_STEPS);
    const image = context.createImageData(FIELD_STEPS, FIELD_STEPS);
    for (let row = 0; row < FIELD_STEPS; row += 1) {
      for (let column = 0; column < FIELD_STEPS; column += 1) {
        const valence = (2 * (column + 0.5)) / FIELD_STEPS - 1;
        const arousal = 1 - (2 * (row + 0.5)) / FIELD_STEPS;
        const distance = Math.min(1, Math.hypot(valence, arousal) / 1.3);
        const eased = distance * distance * (3 - 2 * distance);
        const alpha = dark ? 0.19 + 0.24 * eased : 0.24 + 0.18 * eased;
        const at = 4 * (row * FIELD_STEPS + column);
        const bytes = style.palette.bytes(valence, arousal);
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
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   */
  _drawWords(context, style, plot) {
    context.textBaseline = "middle";
    for (const label of MOOD_LABELS) {
      const current = label.word === this._mood;
      context.font = `${current ? 700 : 400} ${plot.text * 1.12}px ${style.font}`;
      context.textAlign = label.align;
      context.fillStyle = current ? style.palette.ink(label.valence, label.arousal) : style.ink;
      context.globalAlpha = current ? 1 : 0.74;
      const inset = (1 - 0.9) * plot.size * 0.5 - plot.text * 1.35;
      const shift = label.align === "left" ? -inset : label.align === "right" ? inset : 0;
      const lift = label.arousal > 0.5 ? -inset : label.arousal < -0.5 ? inset : 0;
      // Words on the horizontal axis are written beside the line, not on it.
      const beside = label.arousal === 0 ? -plot.text * 0.95 : 0;
      const x = plot.x + ((label.valence + 1) / 2) * plot.size + shift;
      const y = plot.y + ((1 - label.arousal) / 2) * plot.size + lift + beside;
      context.fillText(label.word, x, y);
    }
    if (this._mood === CENTRE) {
      context.textAlign = "left";
      context.globalAlpha = 1;
      context.fillStyle = style.ink;
      context.font = `700 ${plot.text * 1.12}px ${style.font}`;
      const offset = plot.size * 0.036;
      context.fillText(CENTRE, plot.x + plot.size / 2 + offset, plot.y + plot.size / 2 + offset + plot.text * 0.6);
    }
    context.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   */
  _drawAxes(context, style, plot) {
    const { x, y, size, text, gutter } = plot;
    context.fillStyle = style.muted;
    context.font = `400 ${text}px ${style.font}`;
    context.textBaseline = "middle";
    const wide = (/** @type {string} */ words) => context.measureText(words).width;
    const drawAxis = (/** @type {string[]} */ [low, high], /** @type {string} */ name, middle = wide(name)) => {
      // The name is centred: the longer end decides whether both fit. Else the ends are numbers alone.
      const fits = middle / 2 + Math.max(wide(`−1 ${low}`), wide(`${high} +1`)) + text * 1.3 < size / 2;
      context.textAlign = "left";
      context.fillText(fits ? `−1 ${low}` : "−1", plot.radius * 0.5, 0);
      context.textAlign = "right";
      context.fillText(fits ? `${high} +1` : "+1", size - plot.radius * 0.5, 0);
      context.textAlign = "center";
      context.fillStyle = style.ink;
      context.fillText(name, size / 2, 0);
      context.fillStyle = style.muted;
    };
    context.save();
    context.translate(x, y + size + gutter * 0.55);
    if (this._hasSwitch) drawAxis(["unpleasant", "pleasant"], "", text * SWITCH_WIDTH);
    else drawAxis(["unpleasant", "pleasant"], axisName("valence"));
    context.restore();
    context.save();
    context.translate(x - gutter * 0.55, y + size);
    context.rotate(-Math.PI / 2);
    drawAxis(["low energy", "high energy"], axisName("arousal"));
    context.restore();
  }

  /**
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {number} end
   * @param {number} now
   */
  _drawTrail(style, end, now) {
    const history = this._history;
    const indices = trailIndices(history, end, now);
    if (indices.length < 2) return;
    const { context, ratio } = this._surface;
    const plot = this._plot;
    const frozen = this._frozen;
    const { swell } = this._breath;
    const xs = indices.map((i) => this._x(history.shown.valence[history.slot(i)]));
    const ys = indices.map((i) => this._y(history.shown.arousal[history.slot(i)]));
    // The trail ends where the point is shown, not at its target.
    xs[xs.length - 1] = this._x(this._spring.value[0]);
    ys[ys.length - 1] = this._y(this._spring.value[1]);
    // Translucent pieces with round caps would show a dot at each joint.
    context.lineCap = "butt";
    for (let k = 1; k < indices.length; k += 1) {
      const slot = history.slot(indices[k]);
      const age = Math.max(0, Math.min(1, (now - history.time[slot]) / TRAIL_S));
      const recency = (1 - age) ** 1.6;
      context.strokeStyle = style.palette.translucent(
        history.shown.valence[slot], history.shown.arousal[slot], recency * (frozen ? 0.4 : 0.85));
      // Loud music leaves a wide trail, and its newest part breathes.
      const width = 0.4 + 0.9 * levelOf(history.level_db[slot]) + 0.7 * swell * recency ** 4;
      context.lineWidth = ratio * (0.8 + recency * width * plot.size / ratio * 0.008);
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

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  _drawInterval(style) {
    const { context, ratio } = this._surface;
    const [valence, arousal] = this._spring.value;
    this._intervalPath(this._spring.value);
    const strength = this._frozen ? 0.5 : 1;
    context.fillStyle = style.palette.translucent(valence, arousal, 0.1 * strength);
    context.fill();
    context.lineWidth = 1.25 * ratio;
    context.setLineDash(this._state === SETTLING ? [5 * ratio, 5 * ratio] : []);
    context.strokeStyle = style.palette.translucent(valence, arousal, 0.55 * strength);
    context.stroke();
    context.setLineDash([]);
  }

  /**
   * Draws the light around the point: wider and stronger with the music.
   * @param {import("./canvas-style.js").CanvasStyle} style
   */
  _drawGlow(style) {
    const { context } = this._surface;
    const { swell, presence } = this._breath;
    if (presence === 0) return;
    const [valence, arousal] = this._spring.value;
    const colour = style.palette.css(valence, arousal);
    if (colour !== this._glowColour) {
      this._glowColour = colour;
      const half = GLOW_STEPS / 2;
      const picture = this._glow.context;
      const fade = picture.createRadialGradient(half, half, 0, half, half, half);
      for (const [place, alpha] of GLOW) fade.addColorStop(place, style.palette.translucent(valence, arousal, alpha));
      picture.clearRect(0, 0, GLOW_STEPS, GLOW_STEPS);
      picture.fillStyle = fade;
      picture.fillRect(0, 0, GLOW_STEPS, GLOW_STEPS);
    }
    const reach = this._plot.size * (0.34 + 0.1 * swell);
    context.globalAlpha = presence * (style.theme === "dark" ? 0.22 + 0.3 * swell : 0.16 + 0.22 * swell);
    context.drawImage(this._glow.canvas, this._x(valence) - reach, this._y(arousal) - reach, 2 * reach, 2 * reach);
    context.globalAlpha = 1;
  }

  /**
   * Draws the sound around the point: a ring that the bands shape, low ones below and high ones above, and a circle that
   * leaves the point with each beat.
   * @param {import("./canvas-style.js").CanvasStyle} style
   */
  _drawRing(style) {
    const { context, ratio } = this._surface;
    const { bands, beat, swell } = this._breath;
    const [valence, arousal] = this._spring.value;
    const [x, y] = [this._x(valence), this._y(arousal)];
    const radius = this._pointRadius;
    const strongest = Math.max(...bands);
    if (strongest > 0) {
      const corners = 2 * bands.length;
      const corner = (/** @type {number} */ k) => {
        // Low bands at the bottom; the right half mirrors the left one.
        const band = bands[k % corners < bands.length ? k % corners : corners - 1 - (k % corners)];
        const angle = Math.PI / 2 + ((k + 0.5) * Math.PI) / bands.length;
        const reach = radius * (1.7 + 2 * band + 0.5 * swell);
        return { x: x + reach * Math.cos(angle), y: y + reach * Math.sin(angle) };
      };
      context.beginPath();
      for (let k = 0; k <= corners; k += 1) {
        const [here, next] = [corner(k), corner(k + 1)];
        const middle = { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
        if (k === 0) context.moveTo(middle.x, middle.y);
        else context.quadraticCurveTo(here.x, here.y, middle.x, middle.y);
      }
      const shown = Math.min(1, 3 * strongest);
      context.fillStyle = style.palette.translucent(valence, arousal, 0.2 * shown);
      context.fill();
      context.lineWidth = 1.5 * ratio;
      context.strokeStyle = style.palette.translucent(valence, arousal, 0.8 * shown);
      context.stroke();
    }
    if (beat > 0.03) {
      context.beginPath();
      context.arc(x, y, radius * (1.2 + 5 * (1 - beat)), 0, 7);
      context.lineWidth = 1.5 * ratio;
      context.strokeStyle = style.palette.translucent(valence, arousal, 0.5 * beat);
      context.stroke();
    }
  }

  /**
   * Draws the target's way: a dashed line with a dot at each place, and a ring at the last one.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {import("./target.js").TargetPoint[]} points
   */
  _drawTarget(context, style, points) {
    const { ratio } = this._surface;
    const plot = this._plot;
    context.save();
    context.beginPath();
    context.roundRect(plot.x, plot.y, plot.size, plot.size, plot.radius);
    context.clip();
    context.globalAlpha = 0.7;
    context.strokeStyle = context.fillStyle = style.ink;
    context.lineWidth = 1.5 * ratio;
    context.setLineDash([6 * ratio, 5 * ratio]);
    context.beginPath();
    for (const { valence, arousal } of points) context.lineTo(this._x(valence), this._y(arousal));
    context.stroke();
    context.setLineDash([]);
    points.forEach(({ valence, arousal }, index) => {
      const isLast = index === points.length - 1;
      // A recorded way has hundreds of places.
      if (points.length > MAX_DOTS && index > 0 && !isLast) return;
      context.beginPath();
      context.arc(this._x(valence), this._y(arousal), (isLast ? 5 : 2.5) * ratio, 0, 7);
      if (isLast) context.stroke();
      else context.fill();
    });
    context.restore();
  }

  /**
   * Draws where the point should be now: a diamond, joined with the point by a thin line.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {import("./target.js").Place} aim
   */
  _drawAim(style, aim) {
    const { context, ratio } = this._surface;
    const x = this._x(aim.valence);
    const y = this._y(aim.arousal);
    const arm = Math.max(7 * ratio, this._plot.size * 0.019);
    context.globalAlpha = 0.35;
    context.strokeStyle = style.ink;
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(this._x(this._spring.value[0]), this._y(this._spring.value[1]));
    context.stroke();
    context.globalAlpha = 1;
    context.beginPath();
    context.moveTo(x, y - arm);
    context.lineTo(x + arm, y);
    context.lineTo(x, y + arm);
    context.lineTo(x - arm, y);
    context.closePath();
    context.fillStyle = style.ground;
    context.fill();
    context.lineWidth = Math.max(2 * ratio, arm * 0.26);
    context.stroke();
  }

  /**
   * Makes the shape of an interval the path to draw: four quarter ellipses, because it may be longer on one side.
   * @param {Float64Array} values  value and bounds, as in a spring
   * @returns {{x: number, y: number, reach: number}} its centre and its longest radius
   */
  _intervalPath([valence, arousal, vLow, vHigh, aLow, aHigh]) {
    const { context } = this._surface;
    const x = this._x(valence);
    const y = this._y(arousal);
    const left = Math.max(1, x - this._x(vLow));
    const right = Math.max(1, this._x(vHigh) - x);
    const up = Math.max(1, y - this._y(aHigh));
    const down = Math.max(1, this._y(aLow) - y);
    context.beginPath();
    context.ellipse(x, y, right, down, 0, 0, Math.PI / 2);
    context.ellipse(x, y, left, down, 0, Math.PI / 2, Math.PI);
    context.ellipse(x, y, left, up, 0, Math.PI, Math.PI * 1.5);
    context.ellipse(x, y, right, up, 0, Math.PI * 1.5, Math.PI * 2);
    context.closePath();
    return { x, y, reach: Math.max(left, right, up, down) };
  }

  /**
   * Draws where a person would tap: a ring in its own colour, and its interval as a dotted line.
   * @param {import("./canvas-style.js").CanvasStyle} style
   */
  _drawPersonal(style) {
    const { context, ratio } = this._surface;
    const { x, y } = this._intervalPath(this._personalSpring.value);
    context.strokeStyle = style.personal;
    context.lineWidth = 1.5 * ratio;
    context.globalAlpha = 0.75;
    context.setLineDash([1.5 * ratio, 5 * ratio]);
    context.lineCap = "round";
    context.stroke();
    context.setLineDash([]);
    context.lineCap = "butt";
    context.globalAlpha = 1;
    const radius = this._pointRadius;
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    // A dark or light rim keeps it visible on every colour of the plane.
    context.strokeStyle = style.ground;
    context.lineWidth = radius * 0.75;
    context.stroke();
    context.strokeStyle = style.personal;
    context.lineWidth = radius * 0.42;
    context.stroke();
  }

  /**
   * Draws the fast values: a small ring on a thin line, below the point. It is hidden where both agree.
   * @param {import("./canvas-style.js").CanvasStyle} style
   */
  _drawFast(style) {
    const { context, ratio } = this._surface;
    const x = this._x(this._fastSpring.value[0]);
    const y = this._y(this._fastSpring.value[1]);
    const offset = { x: x - this._x(this._spring.value[0]), y: y - this._y(this._spring.value[1]) };
    const distance = Math.hypot(offset.x, offset.y);
    const radius = Math.max(4 * ratio, this._plot.size * 0.0105);
    context.strokeStyle = style.theme === "dark" ? "#ffffff" : style.ink;
    if (distance > radius) {
      const share = radius / distance;
      context.globalAlpha = 0.4;
      context.lineWidth = ratio;
      context.beginPath();
      context.moveTo(x - offset.x, y - offset.y);
      context.lineTo(x - offset.x * share, y - offset.y * share);
      context.stroke();
    }
    context.globalAlpha = 0.45;
    context.fillStyle = style.ground;
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fill();
    context.globalAlpha = 0.9;
    context.lineWidth = Math.max(1.5 * ratio, radius * 0.26);
    context.stroke();
    context.globalAlpha = 1;
  }

  get _pointRadius() {
    return Math.max(6 * this._surface.ratio, this._plot.size * 0.0165);
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  _drawPoint(style) {
    const { context } = this._surface;
    const [valence, arousal] = this._spring.value;
    const x = this._x(valence);
    const y = this._y(arousal);
    const radius = this._pointRadius * (1 + 0.22 * this._breath.beat);
    const frozen = this._frozen;
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fillStyle = frozen ? style.ground : style.palette.css(valence, arousal);
    context.fill();
    context.lineWidth = radius * 0.3;
    context.strokeStyle = frozen ? style.muted : style.theme === "dark" ? "#ffffff" : style.ink;
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
