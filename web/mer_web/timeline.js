/**
 * The timeline: valence above, arousal below, each with its interval, scrolling to the left.
 *
 * It is painted on tiles, canvases of 256 pixel columns of absolute time. A tile that lies wholly in the past
 * is painted once; a frame copies tiles and adds what does not scroll. New data repaints the newest tile only.
 */

import { Points, decimate } from "./decimate.js";
import { STATES } from "./protocol.js";
import { OTHER_STATE, stateCode } from "./history.js";
import { Surface, offscreen } from "./surface.js";
import { clean, signed } from "./text.js";

export const ZOOMS_S = /** @type {const} */ ([60, 600, 3600]);

const TILE = 256;
/** Columns between two colours of the gradient along a line. */
const STOP = 16;
const [SILENCE, , TRACKING, STALLED] = STATES.map(stateCode);

/** @type {Record<number, {step: number, label: (back: number) => string}>} */
const TICKS = {
  60: { step: 10, label: (back) => `−${back} s` },
  600: { step: 120, label: (back) => `−${back / 60} min` },
  3600: { step: 600, label: (back) => `−${back / 60} min` },
};

/**
 * @typedef {object} Plot  device pixels
 * @property {number} x         left edge of the lanes
 * @property {number} y         top edge
 * @property {number} width
 * @property {number} height    of both lanes and the strip of states
 * @property {number} lane      height of a lane
 * @property {number} between   from lane to lane
 * @property {number} strip     height of the strip of states
 * @property {number} text      height of words
 * @property {number} ratio     device pixels in a CSS pixel
 * @property {number} valence   top of the lane of valence
 * @property {number} arousal   top of the lane of arousal
 */

/** @typedef {{canvas: HTMLCanvasElement, context: CanvasRenderingContext2D, end: number, newest: number,
 *            whole: boolean}} Tile  `end` and `newest` as of its last painting */

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./history.js").History} history
   */
  constructor(canvas, history) {
    this._history = history;
    /** @type {import("./look.js").Look|null} */
    this._look = null;
    /** @type {Map<number, Tile>} */
    this._tiles = new Map();
    /** @type {Tile[]} */
    this._spare = [];
    this._points = new Points();
    /** @type {HTMLCanvasElement|null} */
    this._frame = null;
    this._drawn = "";
    this.zoom = 60;
    /** Seconds of the clock at the right edge of the last frame. */
    this.edge = NaN;
    /** CSS pixels from the left where the pointer rests, -1 where it is elsewhere. */
    this.pointer = -1;
    /** How many tiles were painted, for the bench. */
    this.painted = 0;
    this._surface = new Surface(canvas, () => this._forget());
    this._plot = this._measure();
  }

  /** @param {import("./look.js").Look} look */
  setLook(look) {
    this._look = look;
    this._forget();
  }

  /** @param {number} seconds one of ZOOMS_S */
  setZoom(seconds) {
    if (seconds === this.zoom) return;
    this.zoom = seconds;
    this._forget();
  }

  _forget() {
    this._tiles.clear();
    this._spare = [];
    this._frame = null;
    this._drawn = "";
    this._plot = this._measure();
  }

  /** @returns {Plot} */
  _measure() {
    const { width, height, ratio } = this._surface;
    const css = width / ratio;
    const text = Math.max(10.5, Math.min(22, 6 + css * 0.0105, 5 + (height / ratio) * 0.05)) * ratio;
    const left = Math.round(text * 2.6);
    const right = Math.round(text * 4.1);
    const top = Math.round(text * 0.7);
    const axis = Math.round(text * 1.9);
    const strip = Math.round(text * 1.45);
    const between = Math.round(text * 1.2);
    const lane = Math.max(10, Math.floor((height - top - axis - strip - between) / 2));
    return { x: left, y: top, width: Math.max(16, width - left - right), height: lane * 2 + between + strip,
             lane, between, strip, text, ratio, valence: top, arousal: top + lane + between };
  }

  /**
   * @param {number} viewTime  seconds of the clock at the right edge
   * @param {number} end       one past the newest index to show
   * @returns {boolean} whether anything was drawn
   */
  draw(viewTime, end) {
    if (!this._look || !this._surface.visible) return false;
    const plot = this._plot;
    const perColumn = this.zoom / plot.width;
    const known = Number.isFinite(viewTime);
    const edge = known ? Math.floor(viewTime / perColumn) : 0;
    this.edge = known ? edge * perColumn : NaN;
    // What is less than a fraction of a column cannot be seen yet.
    const newest = end ? Math.floor((4 * this._history.time[this._history.slot(end - 1)]) / perColumn) : 0;
    const state = `${edge}|${newest}|${this.pointer}`;
    if (state === this._drawn) return false;
    this._drawn = state;
    const { context, width, height } = this._surface;
    if (!this._frame) this._frame = this._drawFrame(this._look, plot);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._frame, 0, 0);
    if (!known || end <= this._history.start) {
      this._drawNames(this._look, plot);
      return true;
    }
    const first = edge - plot.width;
    context.save();
    context.beginPath();
    context.rect(plot.x, 0, plot.width, height);
    context.clip();
    for (let k = Math.floor(first / TILE); k <= Math.floor(edge / TILE); k += 1) {
      const tile = this._tile(k, perColumn, end, plot);
      context.drawImage(tile.canvas, plot.x + k * TILE - first, plot.y);
    }
    this._drawMarks(this._look, plot, first, perColumn);
    context.restore();
    this._drawNames(this._look, plot);
    this._drawHead(this._look, plot, viewTime, end);
    if (this.pointer >= 0) this._drawPointer(this._look, plot, first, perColumn, end);
    for (const [k, tile] of this._tiles) {
      if ((k + 1) * TILE < first || k * TILE > edge + TILE) {
        this._tiles.delete(k);
        this._spare.push(tile);
      }
    }
    return true;
  }

  /**
   * @param {number} k
   * @param {number} perColumn
   * @param {number} end
   * @param {Plot} plot
   * @returns {Tile}
   */
  _tile(k, perColumn, end, plot) {
    let tile = this._tiles.get(k);
    const newest = this._history.time[this._history.slot(end - 1)];
    if (tile && (tile.whole || tile.end === end || newest - tile.newest < perColumn / 4)) return tile;
    if (!tile) {
      tile = this._spare.pop() ?? { ...offscreen(TILE, plot.height), end: -1, newest: 0, whole: false };
      this._tiles.set(k, tile);
    }
    tile.end = end;
    tile.newest = newest;
    this._paint(tile, k, perColumn, end, plot);
    return tile;
  }

  /**
   * @param {Tile} tile
   * @param {number} k
   * @param {number} perColumn
   * @param {number} end
   * @param {Plot} plot
   */
  _paint(tile, k, perColumn, end, plot) {
    const look = /** @type {import("./look.js").Look} */ (this._look);
    const history = this._history;
    const origin = k * TILE * perColumn;
    const until = origin + TILE * perColumn;
    // Only an estimate beyond the right edge makes the last line of a tile certain.
    tile.whole = tile.newest > until;
    this.painted += 1;
    const { context } = tile;
    context.clearRect(0, 0, TILE, plot.height);
    this._paintStates(context, look, plot, origin, perColumn);
    const from = Math.max(history.start, history.lowerBound(origin) - 1);
    const to = Math.min(end, history.lowerBound(until) + 1);
    if (to <= from) return;
    decimate(history, from, to, origin, perColumn, this._points);
    const points = this._points;
    if (!points.length) return;
    const colours = this._gradient(context, look, perColumn);
    const lane = (/** @type {number} */ top) => (/** @type {number} */ value) =>
      top - plot.y + ((1 - value) / 2) * plot.lane;
    this._paintLane(context, plot, colours, perColumn, lane(plot.valence), points.valence);
    this._paintLane(context, plot, colours, perColumn, lane(plot.arousal), points.arousal);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./look.js").Look} look
   * @param {number} perColumn
   * @returns {CanvasGradient} the colours of the places along the tile
   */
  _gradient(context, look, perColumn) {
    const points = this._points;
    const gradient = context.createLinearGradient(0, 0, TILE, 0);
    let last = -STOP;
    for (let n = 0; n < points.length; n += 1) {
      const x = points.time[n] / perColumn;
      if (x - last < STOP && n < points.length - 1 && x >= 0) continue;
      last = x;
      gradient.addColorStop(Math.max(0, Math.min(1, x / TILE)),
                            look.palette.css(points.valence.mean[n], points.arousal.mean[n]));
    }
    return gradient;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Plot} plot
   * @param {CanvasGradient} colours
   * @param {number} perColumn
   * @param {(value: number) => number} y
   * @param {import("./decimate.js").Lane} lane
   */
  _paintLane(context, plot, colours, perColumn, y, { mean, min, max, low, high }) {
    const points = this._points;
    const n = points.length;
    const x = (/** @type {number} */ i) => points.time[i] / perColumn;
    for (let start = 0; start < n;) {
      let stop = start + 1;
      while (stop < n && !points.broken[stop]) stop += 1;
      context.fillStyle = colours;
      context.globalAlpha = 0.24;
      context.beginPath();
      for (let i = start; i < stop; i += 1) context.lineTo(x(i), y(high[i]));
      for (let i = stop - 1; i >= start; i -= 1) context.lineTo(x(i), y(low[i]));
      context.fill();
      context.globalAlpha = 1;
      // A column that holds several estimates shows all of their range.
      context.beginPath();
      for (let i = start; i < stop; i += 1) context.lineTo(x(i), y(max[i]));
      for (let i = stop - 1; i >= start; i -= 1) context.lineTo(x(i), y(min[i]));
      context.fill();
      context.strokeStyle = colours;
      context.lineWidth = Math.max(2 * plot.ratio, plot.text * 0.16);
      context.lineJoin = "round";
      context.lineCap = "round";
      context.beginPath();
      context.moveTo(x(start), y(mean[start]));
      for (let i = start; i < stop; i += 1) context.lineTo(x(i), y(mean[i]));
      // A lone estimate is a dot; a line without length would be nothing.
      if (stop - start === 1) context.lineTo(x(start) + 0.1, y(mean[start]));
      context.stroke();
      start = stop;
    }
  }

  /**
   * Stretches that are not tracking: a shade over both lanes and a pattern in the strip below.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   * @param {number} origin
   * @param {number} perColumn
   */
  _paintStates(context, look, plot, origin, perColumn) {
    const until = origin + TILE * perColumn;
    const lanes = plot.height - plot.strip;
    const top = lanes + Math.round(plot.text * 0.3);
    const tall = plot.height - top;
    const { runs } = this._history;
    for (let r = runs.length - 1; r >= 0 && runs[r].end >= origin; r -= 1) {
      const run = runs[r];
      if (run.start > until || run.state === TRACKING || run.state === OTHER_STATE) continue;
      const from = Math.max(0, (run.start - origin) / perColumn);
      const to = Math.min(TILE, Math.max((run.end - origin) / perColumn, from + 1));
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, plot.height);
      context.clip();
      context.fillStyle = look.strong;
      context.globalAlpha = 0.13;
      context.fillRect(from, 0, to - from, lanes);
      context.strokeStyle = context.fillStyle = run.state === STALLED ? look.warn : look.muted;
      context.globalAlpha = 0.85;
      context.lineWidth = 1.25 * plot.ratio;
      const period = plot.ratio >= 1.5 ? 16 : 8;
      context.beginPath();
      if (run.state === SILENCE) {
        // dots
        for (let x = Math.floor(from / period) * period + period / 2; x < to + period; x += period) {
          context.moveTo(x, top + tall / 2);
          context.arc(x, top + tall / 2, plot.ratio * 1.3, 0, 7);
        }
        context.fill();
      } else {
        // strokes that lean (settling) or cross (stalled)
        context.beginPath();
        context.rect(from, top, to - from, tall);
        context.clip();
        context.beginPath();
        for (let x = Math.floor(from / period) * period - period * 4; x < to + period * 4; x += period) {
          context.moveTo(x, top + tall);
          context.lineTo(x + tall, top);
          if (run.state === STALLED) {
            context.moveTo(x, top);
            context.lineTo(x + tall, top + tall);
          }
        }
        context.stroke();
      }
      context.restore();
    }
  }

  /**
   * Names of the stretches and of the sessions, where there is room for them.
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   * @param {number} first
   * @param {number} perColumn
   */
  _drawMarks(look, plot, first, perColumn) {
    const { context } = this._surface;
    const { runs, sessions } = this._history;
    const start = first * perColumn;
    context.font = `400 ${plot.text * 0.95}px ${look.font}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    const middle = plot.y + plot.height - plot.strip / 2 + plot.text * 0.15;
    let names = 0;
    let room = plot.x + plot.width;
    for (let r = runs.length - 1; r >= 0 && runs[r].end >= start && names < 24; r -= 1) {
      const run = runs[r];
      const from = Math.max(plot.x, plot.x + run.start / perColumn - first);
      const to = plot.x + run.end / perColumn - first;
      if (run.state !== TRACKING && run.state !== OTHER_STATE) {
        const word = STATES[run.state];
        const wide = context.measureText(word).width;
        if (to - from > wide + plot.text * 1.6) {
          names += 1;
          const x = from + plot.text * 0.6;
          context.fillStyle = look.ground;
          context.fillRect(x - plot.text * 0.3, middle - plot.text * 0.7, wide + plot.text * 0.6, plot.text * 1.4);
          context.fillStyle = run.state === STALLED ? look.warn : look.muted;
          context.fillText(word, x, middle);
        }
      }
      if (r > 0 && runs[r - 1].session !== run.session && run.start >= start) {
        const x = Math.round(plot.x + run.start / perColumn - first) + 0.5;
        context.strokeStyle = look.muted;
        context.lineWidth = plot.ratio;
        context.setLineDash([2 * plot.ratio, 4 * plot.ratio]);
        context.beginPath();
        context.moveTo(x, plot.y);
        context.lineTo(x, plot.y + plot.height - plot.strip);
        context.stroke();
        context.setLineDash([]);
        const label = clean(sessions[run.session]?.label ?? "", 40);
        context.save();
        context.beginPath();
        context.rect(x, 0, Math.max(0, room - x - plot.text * 0.5), plot.y + plot.height);
        context.clip();
        context.fillStyle = look.muted;
        context.fillText(label, x + plot.text * 0.5, plot.valence + plot.lane + plot.between / 2);
        context.restore();
        room = x;
      }
    }
  }

  /**
   * The names of the lanes, above the lines that pass below them.
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   */
  _drawNames(look, plot) {
    const { context } = this._surface;
    context.font = `400 ${plot.text}px ${look.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = plot.text * 0.45;
    context.strokeStyle = look.ground;
    context.fillStyle = look.muted;
    for (const [top, name] of /** @type {[number, string][]} */ (
      [[plot.valence, "valence"], [plot.arousal, "arousal"]])) {
      context.strokeText(name, plot.x + plot.text * 0.7, top + plot.text);
      context.fillText(name, plot.x + plot.text * 0.7, top + plot.text);
    }
  }

  /**
   * @param {number} time
   * @param {number} end
   * @returns {{valence: number, arousal: number}|null} between the estimates around a moment
   */
  _between(time, end) {
    const history = this._history;
    const after = Math.min(end - 1, history.lowerBound(time));
    const before = Math.max(history.start, after - 1);
    if (after < history.start) return null;
    const b = history.slot(before);
    const a = history.slot(after);
    const whole = history.time[a] - history.time[b];
    if (time - history.time[a] > 4 || history.session[a] !== history.session[b]) return null;
    const share = whole > 0 ? Math.max(0, Math.min(1, (time - history.time[b]) / whole)) : 1;
    const mix = (/** @type {Float32Array} */ column) => column[b] + share * (column[a] - column[b]);
    return { valence: mix(history.valence), arousal: mix(history.arousal) };
  }

  /**
   * The value at the right edge: a dot on each line, and the number beside it.
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   * @param {number} viewTime
   * @param {number} end
   */
  _drawHead(look, plot, viewTime, end) {
    const now = this._between(viewTime, end);
    if (!now) return;
    const { context } = this._surface;
    const x = plot.x + plot.width;
    context.font = `500 ${plot.text * 1.08}px ${look.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const [top, value] of [[plot.valence, now.valence], [plot.arousal, now.arousal]]) {
      const y = top + ((1 - value) / 2) * plot.lane;
      context.beginPath();
      context.arc(x, y, plot.text * 0.3, 0, 7);
      context.fillStyle = look.palette.css(now.valence, now.arousal);
      context.fill();
      context.fillStyle = look.ink;
      context.fillText(signed(value), x + plot.text * 0.75, y);
    }
  }

  /**
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   * @param {number} first
   * @param {number} perColumn
   * @param {number} end
   */
  _drawPointer(look, plot, first, perColumn, end) {
    const { context } = this._surface;
    const history = this._history;
    const x = Math.round(this.pointer * plot.ratio);
    if (x < plot.x || x > plot.x + plot.width) return;
    const time = (first + x - plot.x) * perColumn;
    let index = Math.min(end - 1, history.lowerBound(time));
    const before = Math.max(history.start, index - 1);
    const gap = (/** @type {number} */ i) => Math.abs(history.time[history.slot(i)] - time);
    if (gap(before) < gap(index)) index = before;
    if (gap(index) > Math.max(3, perColumn * 2)) return;
    const found = history.at(index);
    const text = `${new Date(found.utc).toLocaleTimeString()}   ${found.mood}   valence ${signed(found.valence)}   `
      + `arousal ${signed(found.arousal)}`;
    context.strokeStyle = look.ink;
    context.globalAlpha = 0.6;
    context.lineWidth = plot.ratio;
    context.beginPath();
    context.moveTo(x + 0.5, plot.y);
    context.lineTo(x + 0.5, plot.y + plot.height);
    context.stroke();
    context.globalAlpha = 1;
    context.font = `500 ${plot.text * 1.05}px ${look.font}`;
    const wide = context.measureText(text).width + plot.text * 1.4;
    const left = Math.max(plot.x, Math.min(plot.x + plot.width - wide, x - wide / 2));
    context.fillStyle = look.ground;
    context.strokeStyle = look.strong;
    context.beginPath();
    context.roundRect(left, plot.y, wide, plot.text * 2, plot.text * 0.5);
    context.fill();
    context.stroke();
    context.fillStyle = look.ink;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, left + plot.text * 0.7, plot.y + plot.text * 1.05);
  }

  /**
   * What stands still: lanes, scales, names, marks of time.
   * @param {import("./look.js").Look} look
   * @param {Plot} plot
   * @returns {HTMLCanvasElement}
   */
  _drawFrame(look, plot) {
    const { width, height } = this._surface;
    const { canvas, context } = offscreen(width, height);
    context.font = `400 ${plot.text * 0.92}px ${look.font}`;
    context.textBaseline = "middle";
    for (const top of [plot.valence, plot.arousal]) {
      context.globalAlpha = look.overlay ? 0.72 : 1;
      context.fillStyle = look.ground;
      context.beginPath();
      context.roundRect(plot.x, top, plot.width, plot.lane, plot.text * 0.4);
      context.fill();
      context.globalAlpha = 1;
      context.fillStyle = look.line;
      context.fillRect(plot.x, top + Math.round(plot.lane / 2), plot.width, Math.max(1, Math.round(plot.ratio)));
      context.fillStyle = look.muted;
      context.textAlign = "right";
      const edge = plot.text * 0.5;
      context.fillText("+1", plot.x - plot.text * 0.5, top + edge);
      context.fillText("0", plot.x - plot.text * 0.5, top + plot.lane / 2);
      context.fillText("−1", plot.x - plot.text * 0.5, top + plot.lane - edge);
    }
    const { step, label } = TICKS[this.zoom];
    const y = plot.y + plot.height + plot.text * 0.95;
    context.fillStyle = look.muted;
    for (let back = 0; back <= this.zoom; back += step) {
      const x = plot.x + plot.width - (back / this.zoom) * plot.width;
      const text = back === 0 ? "now" : label(back);
      const half = context.measureText(text).width / 2;
      context.textAlign = "center";
      context.fillText(text, Math.max(half, Math.min(width - half, x)), y);
      if (back > 0 && back < this.zoom) {
        context.globalAlpha = 0.6;
        context.fillStyle = look.line;
        for (const top of [plot.valence, plot.arousal]) {
          context.fillRect(Math.round(x), top, Math.max(1, Math.round(plot.ratio)), plot.lane);
        }
        context.fillStyle = look.muted;
        context.globalAlpha = 1;
      }
    }
    return canvas;
  }
}
