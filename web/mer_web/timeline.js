/**
 * The timeline: valence above, arousal below, each with its interval, scrolling to the left.
 *
 * It is painted on tiles (timeline-tiles.js). A tile that lies fully in the past is painted once. A frame copies tiles
 * and adds what does not scroll. New data repaints only the newest tile.
 */

import { STATES } from "./protocol.js";
import { OTHER_STATE, stateCode } from "./history.js";
import { describe } from "./moment.js";
import { Surface, offscreen } from "./surface.js";
import { clean, signed } from "./text.js";
import { ticks, timeOfDay } from "./time-axis.js";
import { TimeWindow, USUAL_S } from "./time-window.js";
import { TILE, TilePainter } from "./timeline-tiles.js";
import { axisName, shownValues } from "./value-range.js";

/** Tiles are stretched up to this ratio, and painted again once the length has rested so long. */
const MAX_STRETCH = 1.6;
const REST_MS = 150;
const [, , TRACKING, STALLED] = STATES.map(stateCode);

/** The scale of the panels is the smallest of these that holds the lines. */
const SCALES = [0.5, 1];
/** A smaller scale is used again once the lines take no more than this share of it. */
const ROOM = 0.9;

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

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./history.js").History} history
   */
  constructor(canvas, history) {
    this._history = history;
    /** @type {import("./canvas-style.js").CanvasStyle|null} */
    this._style = null;
    /** @type {Map<number, import("./timeline-tiles.js").Tile>} */
    this._tiles = new Map();
    /** @type {import("./timeline-tiles.js").Tile[]} */
    this._freeTiles = [];
    this._painter = new TilePainter(history);
    /** @type {HTMLCanvasElement|null} */
    this._background = null;
    this._drawn = "";
    /** Which part of the history is shown. */
    this.window = new TimeWindow(USUAL_S);
    /** Of the tiles, in seconds; while the length changes, they are stretched. */
    this._perColumn = NaN;
    /** Length of the last frame in seconds, and when it changed, in milliseconds. */
    this._seconds = NaN;
    this._changedAt = -Infinity;
    /** The value at the upper edge of the panels. */
    this.scale = 1;
    /** Server time in seconds at the right edge of the last frame. */
    this.edge = NaN;
    /** The last frame; null before the first estimate. @type {TimelineView|null} */
    this.view = null;
    /** Position of the pointer in CSS pixels from the left; -1 where it is outside. */
    this.pointer = -1;
    /** The moment that the keyboard or a finger chose, in seconds; NaN for none. */
    this.cursor = NaN;
    /** The moment that the last frame marked, and its CSS pixels from the left of the plot.
     *  @type {{text: import("./moment.js").MomentText, x: number}|null} */
    this.told = null;
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

  /** Length of the view in seconds. */
  get zoom() {
    return this.window.seconds;
  }

  /** @param {number} seconds length of the view; Infinity for the whole history */
  setZoom(seconds) {
    if (seconds === Infinity) this.window.showAll();
    else this.window.setLength(seconds);
  }

  /** @param {import("./ghost.js").Ghost|null} ghost another session, to compare with */
  setGhost(ghost) {
    this._painter.ghost = ghost;
    this._invalidate();
  }

  /** Paints the values again, after the range was switched. */
  rescale() {
    this._invalidate();
  }

  /**
   * @param {import("./target.js").Target|null} target
   * @param {string} session the session that it belongs to
   */
  setTarget(target, session) {
    if (target === this._painter.target && session === this._painter.targetSession) return;
    this._painter.target = target;
    this._painter.targetSession = session;
    this._invalidate();
  }

  _invalidate() {
    this._tiles.clear();
    this._freeTiles = [];
    this._background = null;
    this._drawn = "";
    /** Widths of texts in device pixels. @type {Map<string, number>} */
    this._widths = new Map();
    this._plot = this._measure();
  }

  /** @returns {Plot} */
  _measure() {
    const { width, height, ratio } = this._surface;
    const css = width / ratio;
    // Grows with the other texts of the page, up to those that are read from three metres.
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const text = Math.max(10.5, 0.72 * rem, 1.15 * rem - 7, Math.min(36, 6 + css * 0.0105, 5 + (height / ratio) * 0.05)) * ratio;
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
   * @param {number} now  server time in seconds of the newest moment to show
   * @param {number} end  one past the newest index to show
   * @param {import("./protocol.js").Estimate|null} [shown]  the one whose numbers the page shows
   * @returns {boolean} whether anything was drawn
   */
  draw(now, end, shown = null) {
    if (!this._style || !this._surface.visible) return false;
    const [plot, history] = [this._plot, this._history];
    this.window.follow(now, history.oldest);
    const { isLive, right, seconds } = this.window;
    const perColumn = seconds / plot.width;
    const known = Number.isFinite(now);
    const edge = known ? Math.floor(right / perColumn) : 0;
    this.edge = known ? edge * perColumn : NaN;
    const labels = shown && isLive ? shownValues(shown) : null;
    // A step below a quarter of a column is not visible yet.
    const newest = end ? Math.floor((4 * history.time[history.slot(end - 1)]) / perColumn) : 0;
    this._chooseColumns(perColumn, seconds);
    const state = [edge, newest, this.pointer, this.cursor, perColumn, this._perColumn, isLive, labels?.valence,
                   labels?.arousal].join("|");
    if (state === this._drawn) return false;
    this._drawn = state;
    const first = edge - plot.width;
    const hasPast = known && end > history.start;
    const [from, to] = [first, edge].map((column) => Math.floor((column * perColumn) / (TILE * this._perColumn)));
    this.told = null;
    if (hasPast) this._fitScale(from, to, end, plot);
    const { context, width, height } = this._surface;
    if (!this._background) this._background = this._drawBackground(this._style, plot);
    context.clearRect(0, 0, width, height);
    context.drawImage(this._background, 0, 0);
    this._drawTicks(this._style, plot, hasPast ? edge * perColumn : 0, perColumn, isLive, hasPast);
    if (!hasPast) {
      this._drawNames(this._style, plot);
      return true;
    }
    const { ratio } = plot;
    this.view = { first, perColumn, ratio, left: plot.x / ratio, top: plot.y / ratio, width: plot.width / ratio,
                  height: (plot.height - plot.strip) / ratio, gapTop: plot.panel / ratio, gap: plot.gap / ratio };
    context.save();
    context.beginPath();
    context.rect(plot.x, 0, plot.width, height);
    context.clip();
    const x = (/** @type {number} */ k) => plot.x + Math.round((k * TILE * this._perColumn) / perColumn - first);
    for (let k = from; k <= to; k += 1) {
      context.drawImage(this._tile(k, end, plot).canvas, x(k), plot.y, x(k + 1) - x(k), plot.height);
    }
    this._drawLabels(this._style, plot, first, perColumn);
    context.restore();
    this._drawNames(this._style, plot);
    if (labels) this._drawCurrentValues(this._style, plot, right, end, labels);
    this._drawMoment(this._style, plot, first, perColumn, now);
    for (const [k, tile] of this._tiles) {
      if (k < from || k > to + 1) {
        this._tiles.delete(k);
        this._freeTiles.push(tile);
      }
    }
    return true;
  }

  /**
   * Chooses the columns of the tiles. While the length changes smoothly, the tiles are stretched: to paint them takes longer
   * than a frame has.
   * @param {number} perColumn  seconds in a column of the view
   * @param {number} seconds    length of the view
   */
  _chooseColumns(perColumn, seconds) {
    const now = performance.now();
    if (seconds !== this._seconds) this._changedAt = now;
    this._seconds = seconds;
    const stretch = this._perColumn / perColumn;
    const isSharp = perColumn === this._perColumn;
    if (isSharp || (stretch < MAX_STRETCH && stretch > 1 / MAX_STRETCH && now - this._changedAt < REST_MS)) return;
    this._perColumn = perColumn;
    this._recycle();
  }

  /** Keeps the tiles for other columns or another scale. */
  _recycle() {
    this._freeTiles.push(...this._tiles.values());
    this._tiles.clear();
  }

  /**
   * Chooses the scale that uses the height of the panels well.
   * @param {number} from  the first tile
   * @param {number} to    the last one
   * @param {number} end
   * @param {Plot} plot
   */
  _fitScale(from, to, end, plot) {
    let peak = 0;
    for (let k = from; k <= to; k += 1) peak = Math.max(peak, this._tile(k, end, plot).peak);
    const scale = SCALES.find((one) => peak <= (one < this.scale ? ROOM * one : one)) ?? SCALES[SCALES.length - 1];
    if (scale === this.scale) return;
    this.scale = scale;
    this._background = null;
    this._recycle();
  }

  /**
   * @param {number} k
   * @param {number} end
   * @param {Plot} plot
   * @returns {import("./timeline-tiles.js").Tile}
   */
  _tile(k, end, plot) {
    let tile = this._tiles.get(k);
    const perColumn = this._perColumn;
    const newest = this._history.time[this._history.slot(end - 1)];
    if (tile && (tile.complete || tile.end === end || newest - tile.newest < perColumn / 4)) return tile;
    if (!tile) {
      tile = this._freeTiles.pop() ?? { ...offscreen(TILE, plot.height), end: -1, newest: 0, complete: false, peak: 0 };
      this._tiles.set(k, tile);
    }
    tile.end = end;
    tile.newest = newest;
    this.paintedTiles += 1;
    const style = /** @type {import("./canvas-style.js").CanvasStyle} */ (this._style);
    this._painter.paint(tile, k, perColumn, end, plot, style, this.scale);
    return tile;
  }

  /**
   * @param {string} text
   * @returns {number} its width in the font of labels, device pixels
   */
  _widthOf(text) {
    const known = this._widths.get(text);
    if (known !== undefined) return known;
    const { width } = this._surface.context.measureText(text);
    this._widths.set(text, width);
    return width;
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
      if (run.start > start + plot.width * perColumn) continue;
      const from = Math.max(plot.x, plot.x + run.start / perColumn - first);
      const to = plot.x + run.end / perColumn - first;
      if (run.state !== TRACKING && run.state !== OTHER_STATE) {
        const word = STATES[run.state];
        const wide = this._widthOf(word);
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
    context.lineWidth = plot.text * 0.3;
    context.strokeStyle = style.ground;
    context.fillStyle = style.muted;
    for (const [top, name] of /** @type {[number, string][]} */ (
      [[plot.valence, axisName("valence")], [plot.arousal, axisName("arousal")]])) {
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
   * @param {number} time
   * @param {number} end
   * @param {{valence: number, arousal: number}} labels  the numbers that the page shows
   */
  _drawCurrentValues(style, plot, time, end, labels) {
    const now = this._interpolate(time, end);
    if (!now) return;
    const { context } = this._surface;
    const x = plot.x + plot.width;
    context.font = `400 ${plot.text * 1.08}px ${style.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const axis of /** @type {const} */ (["valence", "arousal"])) {
      const y = this._y(plot, axis, now[axis]);
      context.beginPath();
      context.arc(x, y, plot.text * 0.3, 0, 7);
      context.fillStyle = style.palette.css(now.valence, now.arousal);
      context.fill();
      context.fillStyle = style.ink;
      context.fillText(signed(labels[axis]), x + plot.text * 0.75, y);
    }
  }

  /**
   * @param {Plot} plot
   * @param {"valence"|"arousal"} axis
   * @param {number} value
   * @returns {number} device pixels from the top
   */
  _y(plot, axis, value) {
    return plot[axis] + ((1 - Math.max(-1, Math.min(1, value / this.scale))) / 2) * plot.panel;
  }

  /**
   * @param {number} x CSS pixels from the left of the canvas
   * @returns {number} the moment there, in seconds; NaN outside the plot
   */
  timeAt(x) {
    const plot = this._plot;
    const column = x * plot.ratio - plot.x;
    return this.view && column >= 0 && column <= plot.width ? (this.view.first + column) * this.view.perColumn : NaN;
  }

  /**
   * @param {number} time seconds
   * @param {number} now
   * @returns {import("./moment.js").MomentText|null} what there is to say about a moment; null where nothing was heard
   */
  tell(time, now) {
    const found = this._history.nearest(time);
    if (!found || Math.abs(found.time - time) > Math.max(3, 2 * this._perColumn)) return null;
    const { sessions } = this._history;
    const isNewest = sessions[found.session]?.id === sessions[sessions.length - 1]?.id;
    const place = isNewest ? this._painter.ghost?.at(found.t - 0.5, found.t + 0.5) : null;
    return describe(found, now, place && this._painter.ghost ? { name: "other", place } : null);
  }

  /**
   * Marks the moment at the pointer, or the one that the keyboard chose: a line, and a ring on each curve.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} first
   * @param {number} perColumn
   * @param {number} now
   */
  _drawMoment(style, plot, first, perColumn, now) {
    const time = this.pointer >= 0 ? this.timeAt(this.pointer) : this.cursor;
    const x = Math.round(time / perColumn - first);
    const text = x >= 0 && x <= plot.width ? this.tell(time, now) : null;
    this.told = text && { text, x: x / plot.ratio };
    if (!text) return;
    const { context } = this._surface;
    context.fillStyle = context.strokeStyle = style.ink;
    context.globalAlpha = 0.6;
    context.fillRect(plot.x + x, plot.y, Math.max(1, Math.round(plot.ratio)), plot.height);
    context.globalAlpha = 1;
    context.lineWidth = 1.5 * plot.ratio;
    for (const axis of /** @type {const} */ (["valence", "arousal"])) {
      context.beginPath();
      context.arc(plot.x + x, this._y(plot, axis, text[axis]), plot.text * 0.3, 0, 7);
      context.fillStyle = style.ground;
      context.fill();
      context.stroke();
    }
  }

  /**
   * Draws the labels of time, and a line at each.
   * @param {import("./canvas-style.js").CanvasStyle} style
   * @param {Plot} plot
   * @param {number} right      seconds at the right edge
   * @param {number} perColumn
   * @param {boolean} isLive
   * @param {boolean} hasPast   whether the time of day is known
   */
  _drawTicks(style, plot, right, perColumn, isLive, hasPast) {
    const { context } = this._surface;
    context.font = `400 ${plot.text * 0.92}px ${style.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const space = plot.text * 1.6;
    const perMinute = (Math.max(this._widthOf(timeOfDay(0, false)), this._widthOf("−10 min")) + space) * perColumn;
    const perSecond = (this._widthOf(timeOfDay(0, true)) + space) * perColumn;
    const y = plot.y + plot.height + plot.text * 0.95;
    const left = right - plot.width * perColumn;
    if (!hasPast) return;
    const line = Math.max(1, Math.round(plot.ratio));
    for (const { time, text } of ticks({ left, right, isLive, perMinute, perSecond, shift: this._history.shift })) {
      const x = plot.x + (time - left) / perColumn;
      context.fillStyle = style.muted;
      context.fillText(text, x, y);
      if (x < plot.x + line || x > plot.x + plot.width - line) continue;
      context.globalAlpha = 0.6;
      context.fillStyle = style.line;
      for (const top of [plot.valence, plot.arousal]) context.fillRect(Math.round(x), top, line, plot.panel);
      context.globalAlpha = 1;
    }
  }

  /**
   * Draws what does not scroll: panels and scales.
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
      const scale = String(this.scale);
      context.fillText(`+${scale}`, plot.x - plot.text * 0.5, top + edge);
      context.fillText("0", plot.x - plot.text * 0.5, top + plot.panel / 2);
      context.fillText(`−${scale}`, plot.x - plot.text * 0.5, top + plot.panel - edge);
    }
    return canvas;
  }
}
