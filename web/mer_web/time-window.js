/** Which part of the history the timeline shows: how long it is, and whether it follows the newest moment. */

import { span } from "./text.js";

export const SHORTEST_S = 30;
/** The length at first. */
export const USUAL_S = 60;
export const LONGEST_S = 12 * 3600;

/** However short the history is, the view may be as long as this. */
const LEAST_LIMIT_S = 3600;
/** A right edge so close to now, as a share of the view, is now. */
const SNAP = 0.02;
/** The length that holds the whole history grows in steps of this ratio: every step repaints the timeline. */
const GROWTH = 1.25;

export class TimeWindow {
  /** @param {number} seconds length of the view */
  constructor(seconds) {
    this.seconds = seconds;
    /** Whether the view is as long as the history. */
    this.all = false;
    /** The right edge in seconds; NaN while it follows the newest moment. */
    this._right = NaN;
    /** The newest moment, and the oldest one, as of `follow`. */
    this._now = NaN;
    this._oldest = NaN;
  }

  /** Whether the view follows the newest moment. */
  get isLive() {
    return Number.isNaN(this._right);
  }

  /** The right edge in seconds. */
  get right() {
    return this.isLive ? this._now : this._right;
  }

  /** Seconds from the right edge to the newest moment. */
  get behind() {
    return this.isLive ? 0 : this._now - this._right;
  }

  /** The longest view of this history, in seconds. */
  get limit() {
    return Math.min(LONGEST_S, Math.max(LEAST_LIMIT_S, 1.05 * (this._now - this._oldest) || 0));
  }

  /**
   * @param {number} now     the newest moment to show, in seconds; NaN before any
   * @param {number} oldest  the oldest one
   */
  follow(now, oldest) {
    this._now = now;
    this._oldest = oldest;
    // The shown part may have left the history, or a view may be longer than it.
    if (!this.isLive) this._moveTo(this._right);
    if (!this.all) return;
    const wanted = Math.min(LONGEST_S, Math.max(60, now - oldest || 0));
    this.seconds = Math.min(LONGEST_S, 60 * GROWTH ** Math.ceil(Math.log(wanted / 60) / Math.log(GROWTH) - 1e-9));
  }

  /** @param {number} seconds a length, about the middle unless the view follows the newest moment */
  setLength(seconds) {
    this.all = false;
    if (!this.isLive) this.zoom(seconds / this.seconds, 0.5);
    this.seconds = seconds;
  }

  /** Shows the whole history, now and as it grows. */
  showAll() {
    this.all = true;
    this.goLive();
    this.follow(this._now, this._oldest);
  }

  goLive() {
    this._right = NaN;
  }

  /**
   * @param {number} factor  of the length
   * @param {number} share   the place of the moment that stays, from the left, 0 to 1
   * @returns {boolean} false where the view is as short or as long as can be
   */
  zoom(factor, share) {
    const seconds = Math.max(SHORTEST_S, Math.min(this.limit, this.seconds * factor));
    if (seconds === this.seconds) return false;
    const moved = this.right + (1 - share) * (seconds - this.seconds);
    this.all = false;
    this.seconds = seconds;
    this._moveTo(moved);
    return true;
  }

  /** @param {number} seconds by which the view moves to later moments */
  pan(seconds) {
    if (this.all) this.all = false;
    this._moveTo(this.right + seconds);
  }

  /**
   * Moves a moment into the view.
   * @param {number} time seconds
   */
  reveal(time) {
    const left = this.right - this.seconds;
    if (time < left) this.pan(time - left - this.seconds / 4);
    else if (time > this.right) this.pan(time - this.right + this.seconds / 4);
  }

  /** @param {number} right seconds */
  _moveTo(right) {
    if (!Number.isFinite(this._now)) return;
    const earliest = Math.min(this._now, this._oldest + this.seconds);
    const moved = Math.max(earliest, right);
    this._right = moved >= this._now - SNAP * this.seconds ? NaN : moved;
  }
}

/**
 * @param {number} seconds
 * @returns {string} how far the right edge is from now
 */
export function behindText(seconds) {
  return seconds < 0.5 ? "now" : `${span(seconds)} ago`;
}
