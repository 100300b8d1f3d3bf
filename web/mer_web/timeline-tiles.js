/**
 * The tiles of the timeline: canvases of 256 pixel columns of absolute time, with the lines, their intervals and the
 * states. What does not scroll with time is not on them.
 */

import { Points, decimate, resolution } from "./decimate.js";
import { GAP_S, OTHER_STATE, lowerBound, stateCode } from "./history.js";
import { STATES } from "./protocol.js";

/** Columns of a tile. */
export const TILE = 256;
/** Columns between two colour stops of the gradient along a line. */
const STOP = 16;
/** Columns between two points of the target's line. */
const TARGET_STEP = 4;
/** Columns between two points of the line of another session. */
const GHOST_STEP = 2;
const [, SETTLING, TRACKING, STALLED] = STATES.map(stateCode);

/** @typedef {import("./timeline.js").Plot} Plot */

/** @typedef {{canvas: HTMLCanvasElement, context: CanvasRenderingContext2D, end: number, newest: number,
 *            complete: boolean, peak: number}} Tile  `end` and `newest` are those of its last painting; `peak` is the
 *            greatest distance of a line from 0 */

/**
 * @typedef {object} PanelPaint  what the lines of a tile's panel are painted with
 * @property {CanvasRenderingContext2D} context
 * @property {import("./canvas-style.js").CanvasStyle} style
 * @property {Plot} plot
 * @property {number} k          number of the tile
 * @property {number} perColumn
 * @property {Columns} columns
 * @property {number} end        of the columns
 * @property {(value: number) => number} y
 */

/** @typedef {import("./history.js").History|import("./seconds.js").Seconds} Columns  estimates, or seconds of them */

export class TilePainter {
  /** @param {import("./history.js").History} history */
  constructor(history) {
    this._history = history;
    this._points = new Points();
    /** @type {import("./target.js").Target|null} */
    this.target = null;
    /** The name of the session that the target belongs to. */
    this.targetSession = "";
    /** Another session, to compare with. @type {import("./ghost.js").Ghost|null} */
    this.ghost = null;
  }

  /**
   * Paints a tile anew.
   * @param {Tile} tile
   * @param {number} k          number of the tile: its first column of absolute time is k * TILE
   * @param {number} perColumn  seconds in a column
   * @param {number} end        one past the newest index of the history to show
   * @param {Plot} plot
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {number} scale      the value at the upper edge of the panels
   */
  paint(tile, k, perColumn, end, plot, style, scale) {
    const history = this._history;
    const origin = k * TILE * perColumn;
    const until = origin + TILE * perColumn;
    // The last line of a tile is final once an estimate beyond its right edge has arrived.
    tile.complete = tile.newest > until;
    const { context } = tile;
    context.clearRect(0, 0, TILE, plot.height);
    this._paintStates(context, style, plot, origin, perColumn);
    tile.peak = 0;
    const columns = resolution(history, origin, perColumn);
    const last = columns === history ? end : columns.end;
    const from = Math.max(columns.start, lowerBound(columns, origin) - 1);
    const to = Math.min(last, lowerBound(columns, until) + 1);
    if (to <= from) return;
    decimate(columns, from, to, origin, perColumn, this._points);
    const points = this._points;
    if (!points.length) return;
    const colours = this._gradient(context, style, perColumn);
    for (const axis of /** @type {const} */ (["valence", "arousal"])) {
      const top = plot[axis] - plot.y;
      const y = (/** @type {number} */ value) => top + ((1 - value / scale) / 2) * plot.panel;
      context.save();
      context.beginPath();
      context.rect(0, top, TILE, plot.panel);
      context.clip();
      this._paintSeries(context, plot, colours, perColumn, y, points[axis]);
      for (let n = 0; n < points.length; n += 1) {
        tile.peak = Math.max(tile.peak, -points[axis].min[n], points[axis].max[n]);
      }
      if (!style.overlay) {
        const more = { context, style, plot, k, perColumn, columns, end: last, y };
        tile.peak = Math.max(tile.peak, this._paintGhost(more, axis), this._paintTarget(more, axis));
      }
      context.restore();
    }
  }

  /**
   * Paints the other session: a thin line.
   * @param {PanelPaint} paint
   * @param {"valence"|"arousal"} axis
   * @returns {number} its greatest distance from 0
   */
  _paintGhost(paint, axis) {
    const ghost = this.ghost;
    if (!ghost) return 0;
    const { context, style, plot } = paint;
    context.strokeStyle = style.ink;
    context.globalAlpha = 0.8;
    context.lineWidth = plot.ratio;
    const peak = this._paintOverTime(paint, this._history.sessions[this._history.sessions.length - 1]?.id ?? "", GHOST_STEP,
                                     (from, to) => ghost.at(from, to)?.[axis]);
    context.globalAlpha = 1;
    return peak;
  }

  /**
   * Paints a line over the stream time of a session.
   * @param {PanelPaint} paint
   * @param {string} session
   * @param {number} step  columns between two points
   * @param {(from: number, to: number) => number|undefined} value  of an interval of stream time
   * @returns {number} its greatest distance from 0
   */
  _paintOverTime({ context, k, perColumn, columns, end, y }, session, step, value) {
    let peak = 0;
    let drawn = false;
    let from = this._streamTime(columns, (k * TILE - step) * perColumn, end, session);
    context.beginPath();
    for (let x = 0; x <= TILE + step; x += step) {
      const to = this._streamTime(columns, (k * TILE + x) * perColumn, end, session);
      const found = from === null || to === null ? undefined : value(from, to);
      from = to;
      if (found !== undefined) {
        peak = Math.max(peak, Math.abs(found));
        if (drawn) context.lineTo(x - step / 2, y(found));
        else context.moveTo(x - step / 2, y(found));
      }
      drawn = found !== undefined;
    }
    context.stroke();
    return peak;
  }

  /**
   * Paints where the values should have been: a dashed line.
   * @param {PanelPaint} paint
   * @param {"valence"|"arousal"} axis
   * @returns {number} its greatest distance from 0
   */
  _paintTarget(paint, axis) {
    const target = this.target;
    if (!target) return 0;
    const { context, style, plot, k } = paint;
    const dash = 5 * plot.ratio;
    context.strokeStyle = style.ink;
    context.globalAlpha = 0.75;
    context.lineWidth = 1.25 * plot.ratio;
    context.lineCap = "butt";
    context.setLineDash([dash, dash]);
    context.lineDashOffset = (k * TILE) % (2 * dash);
    const peak = this._paintOverTime(paint, this.targetSession, TARGET_STEP, (from, to) => target.at((from + to) / 2)[axis]);
    context.setLineDash([]);
    context.globalAlpha = 1;
    return peak;
  }

  /**
   * @param {Columns} columns
   * @param {number} time
   * @param {number} end
   * @param {string} session  its name
   * @returns {number|null} seconds of its stream; null where nothing was heard of it
   */
  _streamTime(columns, time, end, session) {
    const after = lowerBound(columns, time);
    if (after >= end || after <= columns.start) return null;
    const [a, b] = [after % columns.capacity, (after - 1) % columns.capacity];
    const interval = columns.time[a] - columns.time[b];
    const isBroken = "broken" in columns ? columns.broken[a] : interval > GAP_S || columns.session[a] !== columns.session[b];
    if (isBroken || this._history.sessions[columns.session[a]]?.id !== session) return null;
    return columns.t[b] + (interval > 0 ? (time - columns.time[b]) / interval : 0) * (columns.t[a] - columns.t[b]);
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
    for (const { state, from, to } of this._statesBetween(origin, until, perColumn)) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, plot.height);
      context.clip();
      context.fillStyle = style.strong;
      context.globalAlpha = 0.13;
      context.fillRect(from, 0, to - from, panels);
      context.strokeStyle = context.fillStyle = state === STALLED ? style.warn : style.muted;
      context.globalAlpha = 0.85;
      context.lineWidth = 1.25 * plot.ratio;
      const period = plot.ratio >= 1.5 ? 16 : 8;
      context.beginPath();
      if (state !== SETTLING && state !== STALLED) {
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
          if (state === STALLED) {
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
   * @param {number} origin
   * @param {number} until
   * @param {number} perColumn
   * @returns {{state: number, from: number, to: number}[]} columns of the states other than tracking, at least one each;
   *   those of a state that touch are one, so that a tile has few however many runs there are
   */
  _statesBetween(origin, until, perColumn) {
    /** @type {Map<number, {state: number, from: number, to: number}>} */
    const open = new Map();
    const found = [];
    const { runs } = this._history;
    for (let r = runs.length - 1; r >= 0 && runs[r].end >= origin; r -= 1) {
      const { state, start, end } = runs[r];
      if (start > until || state === TRACKING || state === OTHER_STATE) continue;
      const from = Math.max(0, (start - origin) / perColumn);
      const to = Math.min(TILE, Math.max((end - origin) / perColumn, from + 1));
      const later = open.get(state);
      if (later && to >= later.from) {
        later.from = Math.min(later.from, from);
        continue;
      }
      const one = { state, from, to };
      open.set(state, one);
      found.push(one);
    }
    return found;
  }
}
