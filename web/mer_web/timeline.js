/**
 * The timeline: valence above, arousal below, each with its interval, scrolling to the left.
 *
 * It is painted on tiles: canvases of 256 pixel columns of absolute time. A tile that lies fully in the past is
 * painted once. A frame copies tiles and adds what does not scroll. New data repaints only the newest tile.
 */

import { Points, decimate } from "./decimate.js";
import { STATES } from "./protocol.js";
import { GAP_S, OTHER_STATE, stateCode } from "./history.js";
import { Surface, offscreen } from "./surface.js";
import { clean, signed } from "./text.js";
import { shownValues } from "./value-range.js";

export const ZOOMS_S = /** @type {const} */ ([60, 600, 3600]);

const TILE = 256;
/** Columns between two colour stops of the gradient along a line. */
const STOP = 16;
/** Columns between two points of the target's line. */
const TARGET_STEP = 4;
const [, SETTLING, TRACKING, STALLED] = STATES.map(stateCode);

/** @type {Record<number, {step: number, label: (back: number) => string}>} */
const TICKS = {
  60: { step: 10, label: (back) => `−${back} s` },
  600: { step: 120, label: (back) => `−${back / 60} min` },
  3600: { step: 600, label: (back) => `−${back / 60} min` },
};

/**
 * @typedef {object} Plot  device pixels
 * @property {number} x         left edge of the panels
 * @property {number} y         top edge
 * @property {number} width
 * @property {number} height    of both panels and the strip of states
 * @property {number} panel     height of a panel
 * @property {number} gap       between the panels
 * @property {number} strip     height of the strip of states
 * @property {number} text      font size
 * @property {number} ratio     device pixels per CSS pixel
 * @property {number} valence   top of the valence panel
 * @property {number} arousal   top of the arousal panel
 */

/**
 * @typedef {object} TimelineView  where the last frame was drawn
 * @property {number} first      column of absolute time at the left edge of the plot
 * @property {number} perColumn  seconds per column, which is a device pixel
 * @property {number} ratio      device pixels per CSS pixel
 * @property {number} left       of the plot within the canvas, CSS pixels, as all below
 * @property {number} top
 * @property {number} width
 * @property {number} height     of both panels
 * @property {number} gapTop     top of the gap between the panels, from that of the plot
 * @property {number} gap        its height
 */

/** @typedef {{canvas: HTMLCanvasElement, context: CanvasRenderingContext2D, end: number, newest: number,
 *            complete: boolean}} Tile  `end` and `newest` are those of its last painting */

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./history.js").History} history
   */
  constructor(canvas, history) {
    this._history = history;
    /** @type {import("./canvas-style.js").CanvasStyle|null} */
    this._style = null;
    /** @type {Map<number, Tile>} */
    this._tiles = new Map();
    /** @type {Tile[]} */
    this._freeTiles = [];
    this._points = new Points();
    /** @type {HTMLCanvasElement|null} */
    this._background = null;
    this._drawn = "";
    this.zoom = 60;
    /** Server time in seconds at the right edge of the last frame. */
    this.edge = NaN;
    /** The last frame; null before the first estimate. @type {TimelineView|null} */
    this.view = null;
    /** @type {import("./target.js").Target|null} */
    this._target = null;
    this._targetSession = "";
    /** Position of the pointer in CSS pixels from the left; -1 where it is outside. */
    this.pointer = -1;
    /** Number of tiles painted so far, for tests. */
    this.paintedTiles = 0;
    this._surface = new Surface(canvas, () => this._invalidate());
    this._plot = this._measure();
  }

  /** @param {import("./canvas-style.js").CanvasStyle} style */
  setStyle(style) {
    this._style = style;
    this._invalidate();
  }

  /** @param {number} seconds one of ZOOMS_S */
  setZoom(seconds) {
    if (seconds === this.zoom) return;
    this.zoom = seconds;
    this._invalidate();
  }

  /**
   * @param {import("./target.js").Target|null} target
   * @param {string} session the session that it belongs to
   */
  setTarget(target, session) {
    if (target === this._target && session === this._targetSession) return;
    this._target = target;
    this._targetSession = session;
    this._invalidate();
  }

  _invalidate() {
    this._tiles.clear();
    this._freeTiles = [];
    this._background = null;
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
    const gap = Math.round(text * 1.2);
    const panel = Math.max(10, Math.floor((height - top - axis - strip - gap) / 2));
    return { x: left, y: top, width: Math.max(16, width - left - right), height: panel * 2 + gap + strip,
             panel, gap, strip, text, ratio, valence: top, arousal: top + panel + gap };
  }

  /**
   * @param {number} viewTime  server time in seconds at the right edge
   * @param {number} end       one past the newest index to show
   * @returns {boolean} whether anything was drawn
   */
  draw(viewTime, end) {
    if (!this._style || !this._surface.visible) return false;
    const plot = this._plot;
    const perColumn = this.zoom / plot.width;
    const known = Number.isFinite(viewTime);
    const edge = known ? Math.floor(viewTime / perColumn) : 0;
    this.edge = known ? edge * perColumn : NaN;
    // A step below a quarter of a column is not visible yet.
    const newest = end ? Math.floor((4 * this._history.time[this._history.slot(end - 1)]) / perColumn) : 0;
    const state = `${edge}|${newest}|${this.pointer}`;
    if (state === this._drawn) return false;
    this._drawn = state;
    const { context, width, height } = this._surface;
    if (!this._background) this._background = this._drawBackground(this._style, plot);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._background, 0, 0);
    if (!known || end <= this._history.start) {
      this._drawNames(this._style, plot);
      return true;
    }
    const first = edge - plot.width;
    const { ratio } = plot;
    this.view = { first, perColumn, ratio, left: plot.x / ratio, top: plot.y / ratio, width: plot.width / ratio,
                  height: (plot.height - plot.strip) / ratio, gapTop: plot.panel / ratio, gap: plot.gap / ratio };
    context.save();
    context.beginPath();
    context.rect(plot.x, 0, plot.width, height);
    context.clip();
    for (let k = Math.floor(first / TILE); k <= Math.floor(edge / TILE); k += 1) {
      const tile = this._tile(k, perColumn, end, plot);
      context.drawImage(tile.canvas, plot.x + k * TILE - first, plot.y);
    }
    this._drawLabels(this._style, plot, first, perColumn);
    context.restore();
    this._drawNames(this._style, plot);
    this._drawCurrentValues(this._style, plot, viewTime, end);
    if (this.pointer >= 0) this._drawPointer(this._style, plot, first, perColumn, end);
    for (const [k, tile] of this._tiles) {
      if ((k + 1) * TILE < first || k * TILE > edge + TILE) {
        this._tiles.delete(k);
        this._freeTiles.push(tile);
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
    if (tile && (tile.complete || tile.end === end || newest - tile.newest < perColumn / 4)) return tile;
    if (!tile) {
      tile = this._freeTiles.pop() ?? { ...offscreen(TILE, plot.height), end: -1, newest: 0, complete: false };
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
    const style = /** @type {import("./canvas-style.js").CanvasStyle} */ (this._style);
    const history = this._history;
    const origin = k * TILE * perColumn;
    const until = origin + TILE * perColumn;
    // The last line of a tile is final once an estimate beyond its right edge has arrived.
    tile.complete = tile.newest > until;
    this.paintedTiles += 1;
    const { context } = tile;
    context.clearRect(0, 0, TILE, plot.height);
    this._paintStates(context, style, plot, origin, perColumn);
    const from = Math.max(history.start, history.lowerBound(origin) - 1);
    const to = Math.min(end, history.lowerBound(until) + 1);
    if (to <= from) return;
    decimate(history, from, to, origin, perColumn, this._points);
    const points = this._points;
    if (!points.length) return;
    const colours = this._gradient(context, style, perColumn);
    const yScale = (/** @type {number} */ top) => (/** @type {number} */ value) =>
      top - plot.y + ((1 - value) / 2) * plot.panel;
    this._paintSeries(context, plot, colours, perColumn, yScale(plot.valence), points.valence);
    this._paintSeries(context, plot, colours, perColumn, yScale(plot.arousal), points.arousal);
    if (this._target && !style.overlay) {
      this._paintTarget(context, style, plot, k, perColumn, end, yScale);
    }
  }

  /**
   * Paints where the values should have been: a dashed line over each panel.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} k          number of the tile
   * @param {number} perColumn
   * @param {number} end
   * @param {(top: number) => (value: number) => number} yScale
   */
  _paintTarget(context, style, plot, k, perColumn, end, yScale) {
    const dash = 5 * plot.ratio;
    context.strokeStyle = style.ink;
    context.globalAlpha = 0.75;
    context.lineWidth = 1.25 * plot.ratio;
    context.lineCap = "butt";
    context.setLineDash([dash, dash]);
    context.lineDashOffset = (k * TILE) % (2 * dash);
    for (const [top, axis] of /** @type {[number, "valence"|"arousal"][]} */ (
      [[plot.valence, "valence"], [plot.arousal, "arousal"]])) {
      const y = yScale(top);
      context.beginPath();
      let drawn = false;
      for (let x = 0; x <= TILE; x += TARGET_STEP) {
        const t = this._streamTime((k * TILE + x) * perColumn, end);
        const place = t === null ? null : /** @type {import("./target.js").Target} */ (this._target).at(t);
        if (place && drawn) context.lineTo(x, y(place[axis]));
        else if (place) context.moveTo(x, y(place[axis]));
        drawn = place !== null;
      }
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /**
   * @param {number} time
   * @param {number} end
   * @returns {number|null} seconds of the stream of the target's session; null where nothing was heard of it
   */
  _streamTime(time, end) {
    const history = this._history;
    const after = history.lowerBound(time);
    if (after >= end || after <= history.start) return null;
    const [a, b] = [history.slot(after), history.slot(after - 1)];
    const interval = history.time[a] - history.time[b];
    if (interval > GAP_S || history.session[a] !== history.session[b]) return null;
    if (history.sessions[history.session[a]]?.id !== this._targetSession) return null;
    return history.t[b] + (interval > 0 ? (time - history.time[b]) / interval : 0) * (history.t[a] - history.t[b]);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {number} perColumn
   * @returns {CanvasGradient} the colours of the estimates along the tile
   */
  _gradient(context, style, perColumn) {
    const points = this._points;
    const gradient = context.createLinearGradient(0, 0, TILE, 0);
    let last = -STOP;
    for (let n = 0; n < points.length; n += 1) {
      const x = points.time[n] / perColumn;
      if (x - last < STOP && n < points.length - 1 && x >= 0) continue;
      last = x;
      gradient.addColorStop(Math.max(0, Math.min(1, x / TILE)),
                            style.palette.css(points.valence.mean[n], points.arousal.mean[n]));
    }
    return gradient;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Plot} plot
   * @param {CanvasGradient} colours
   * @param {number} perColumn
   * @param {(value: number) => number} y
   * @param {import("./decimate.js").Series} series
   */
  _paintSeries(context, plot, colours, perColumn, y, { mean, min, max, low, high }) {
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
      // A column with several estimates shows their full range.
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
      // A single estimate is drawn as a dot; a line of length zero would be invisible.
      if (stop - start === 1) context.lineTo(x(start) + 0.1, y(mean[start]));
      context.stroke();
      start = stop;
    }
  }

  /**
   * Paints the states other than tracking: a shade over both panels and a pattern in the strip below.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} origin
   * @param {number} perColumn
   */
  _paintStates(context, style, plot, origin, perColumn) {
    const until = origin + TILE * perColumn;
    const panels = plot.height - plot.strip;
    const top = panels + Math.round(plot.text * 0.3);
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
      context.fillStyle = style.strong;
      context.globalAlpha = 0.13;
      context.fillRect(from, 0, to - from, panels);
      context.strokeStyle = context.fillStyle = run.state === STALLED ? style.warn : style.muted;
      context.globalAlpha = 0.85;
      context.lineWidth = 1.25 * plot.ratio;
      const period = plot.ratio >= 1.5 ? 16 : 8;
      context.beginPath();
      if (run.state !== SETTLING && run.state !== STALLED) {
        // dots (silence, speech and noise)
        for (let x = Math.floor(from / period) * period + period / 2; x < to + period; x += period) {
          context.moveTo(x, top + tall / 2);
          context.arc(x, top + tall / 2, plot.ratio * 1.3, 0, 7);
        }
        context.fill();
      } else {
        // diagonal strokes (settling) or crosses (stalled)
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
   * Draws the names of states and sessions where they fit.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} first
   * @param {number} perColumn
   */
  _drawLabels(style, plot, first, perColumn) {
    const { context } = this._surface;
    const { runs, sessions } = this._history;
    const start = first * perColumn;
    context.font = `400 ${plot.text * 0.95}px ${style.font}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    const middle = plot.y + plot.height - plot.strip / 2 + plot.text * 0.15;
    let names = 0;
    let limit = plot.x + plot.width;
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
          context.fillStyle = style.ground;
          context.fillRect(x - plot.text * 0.3, middle - plot.text * 0.7, wide + plot.text * 0.6, plot.text * 1.4);
          context.fillStyle = run.state === STALLED ? style.warn : style.muted;
          context.fillText(word, x, middle);
        }
      }
      if (r > 0 && runs[r - 1].session !== run.session && run.start >= start) {
        const x = Math.round(plot.x + run.start / perColumn - first) + 0.5;
        context.strokeStyle = style.muted;
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
        context.rect(x, 0, Math.max(0, limit - x - plot.text * 0.5), plot.y + plot.height);
        context.clip();
        context.fillStyle = style.muted;
        context.fillText(label, x + plot.text * 0.5, plot.valence + plot.panel + plot.gap / 2);
        context.restore();
        limit = x;
      }
    }
  }

  /**
   * Draws the names of the panels, on top of the lines.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   */
  _drawNames(style, plot) {
    const { context } = this._surface;
    context.font = `400 ${plot.text}px ${style.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = plot.text * 0.45;
    context.strokeStyle = style.ground;
    context.fillStyle = style.muted;
    for (const [top, name] of /** @type {[number, string][]} */ (
      [[plot.valence, "valence"], [plot.arousal, "arousal"]])) {
      context.strokeText(name, plot.x + plot.text * 0.7, top + plot.text);
      context.fillText(name, plot.x + plot.text * 0.7, top + plot.text);
    }
  }

  /**
   * @param {number} time
   * @param {number} end
   * @returns {{valence: number, arousal: number}|null} interpolated between the estimates around a time
   */
  _interpolate(time, end) {
    const history = this._history;
    const after = Math.min(end - 1, history.lowerBound(time));
    const before = Math.max(history.start, after - 1);
    if (after < history.start) return null;
    const b = history.slot(before);
    const a = history.slot(after);
    const interval = history.time[a] - history.time[b];
    if (time - history.time[a] > 4 || history.session[a] !== history.session[b]) return null;
    const share = interval > 0 ? Math.max(0, Math.min(1, (time - history.time[b]) / interval)) : 1;
    const mix = (/** @type {Float32Array} */ column) => column[b] + share * (column[a] - column[b]);
    return { valence: mix(history.shown.valence), arousal: mix(history.shown.arousal) };
  }

  /**
   * Draws the values at the right edge: a dot on each line and the number beside it.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} viewTime
   * @param {number} end
   */
  _drawCurrentValues(style, plot, viewTime, end) {
    const now = this._interpolate(viewTime, end);
    if (!now) return;
    const { context } = this._surface;
    const x = plot.x + plot.width;
    context.font = `500 ${plot.text * 1.08}px ${style.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const [top, value] of [[plot.valence, now.valence], [plot.arousal, now.arousal]]) {
      const y = top + ((1 - value) / 2) * plot.panel;
      context.beginPath();
      context.arc(x, y, plot.text * 0.3, 0, 7);
      context.fillStyle = style.palette.css(now.valence, now.arousal);
      context.fill();
      context.fillStyle = style.ink;
      context.fillText(signed(value), x + plot.text * 0.75, y);
    }
  }

  /**
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} first
   * @param {number} perColumn
   * @param {number} end
   */
  _drawPointer(style, plot, first, perColumn, end) {
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
    const shown = shownValues(found);
    const raw = found.scaled ? `   (raw ${signed(found.valence)}, ${signed(found.arousal)})` : "";
    const text = `${new Date(found.utc).toLocaleTimeString()}   ${found.mood || "–"}   valence ${signed(shown.valence)}   `
      + `arousal ${signed(shown.arousal)}${raw}`;
    context.strokeStyle = style.ink;
    context.globalAlpha = 0.6;
    context.lineWidth = plot.ratio;
    context.beginPath();
    context.moveTo(x + 0.5, plot.y);
    context.lineTo(x + 0.5, plot.y + plot.height);
    context.stroke();
    context.globalAlpha = 1;
    context.font = `500 ${plot.text * 1.05}px ${style.font}`;
    const wide = context.measureText(text).width + plot.text * 1.4;
    const left = Math.max(plot.x, Math.min(plot.x + plot.width - wide, x - wide / 2));
    context.fillStyle = style.ground;
    context.strokeStyle = style.strong;
    context.beginPath();
    context.roundRect(left, plot.y, wide, plot.text * 2, plot.text * 0.5);
    context.fill();
    context.stroke();
    context.fillStyle = style.ink;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, left + plot.text * 0.7, plot.y + plot.text * 1.05);
  }

  /**
   * Draws what does not scroll: panels, scales, names and time labels.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @returns {HTMLCanvasElement}
   */
  _drawBackground(style, plot) {
    const { width, height } = this._surface;
    const { canvas, context } = offscreen(width, height);
    context.font = `400 ${plot.text * 0.92}px ${style.font}`;
    context.textBaseline = "middle";
    for (const top of [plot.valence, plot.arousal]) {
      context.globalAlpha = style.overlay ? 0.72 : 1;
      context.fillStyle = style.ground;
      context.beginPath();
      context.roundRect(plot.x, top, plot.width, plot.panel, plot.text * 0.4);
      context.fill();
      context.globalAlpha = 1;
      context.fillStyle = style.line;
      context.fillRect(plot.x, top + Math.round(plot.panel / 2), plot.width, Math.max(1, Math.round(plot.ratio)));
      context.fillStyle = style.muted;
      context.textAlign = "right";
      const edge = plot.text * 0.5;
      context.fillText("+1", plot.x - plot.text * 0.5, top + edge);
      context.fillText("0", plot.x - plot.text * 0.5, top + plot.panel / 2);
      context.fillText("−1", plot.x - plot.text * 0.5, top + plot.panel - edge);
    }
    const { step, label } = TICKS[this.zoom];
    const y = plot.y + plot.height + plot.text * 0.95;
    context.fillStyle = style.muted;
    for (let back = 0; back <= this.zoom; back += step) {
      const x = plot.x + plot.width - (back / this.zoom) * plot.width;
      const text = back === 0 ? "now" : label(back);
      const half = context.measureText(text).width / 2;
      context.textAlign = "center";
      context.fillText(text, Math.max(half, Math.min(width - half, x)), y);
      if (back > 0 && back < this.zoom) {
        context.globalAlpha = 0.6;
        context.fillStyle = style.line;
        for (const top of [plot.valence, plot.arousal]) {
          context.fillRect(Math.round(x), top, Math.max(1, Math.round(plot.ratio)), plot.panel);
        }
        context.fillStyle = style.muted;
        context.globalAlpha = 1;
      }
    }
    return canvas;
  }
}
