/**
 * The pulse of the music between estimates: its level, six bands and onsets, for everything that moves with the sound.
 *
 *     const { level, bands, onset, live } = app.pulse.at(performance.now());   // in each frame
 *
 * The server sends several pulses in a message. The feed plays them out by their stream times, so that the picture
 * moves evenly. It asks for pulses only while the page is visible. Draws nothing.
 */

import { PULSE_BANDS, pulseMessage } from "./protocol.js";

/** The level that counts as nothing, in dB. */
const FLOOR_DB = -60;

/** Without pulses for this long, they are not live, and everything falls to 0. */
const LIVE_MS = 1000;

/** Time constants: a rise shows at once, a fall is slow enough for the eye. An onset is over after about 250 ms. */
const RISE_MS = 12;
const FALL_MS = 180;
const ONSET_MS = 80;

/** The longest wait of a pulse for its time; a pulse that would wait longer belongs to another stream. */
const MAX_WAIT_MS = 400;
/** Pulses to keep for a page that draws nothing for a while. */
const MAX_WAITING = 100;
/** How fast the delay follows messages that come later and sooner, as a part of the difference for each message. Most
 *  pulses are then in time, and the few that are not show at once: for the eye, little delay matters more. */
const LATER = 0.2;
const SOONER = 0.05;

/**
 * @typedef {object} PulseState
 * @property {number} level        0 at -60 dB or less, 1 at 0 dB
 * @property {Float32Array} bands  six values from 0 to 1, from 40 Hz up
 * @property {number} onset        0 to 1: how strong the newest onset was, falling to 0 in about 250 ms
 * @property {boolean} live        whether pulses arrive
 *
 * @typedef {object} PulseOptions
 * @property {() => number} [now]                                 in milliseconds
 * @property {EventTarget & {hidden: boolean}} [page]             tells whether anybody can see it
 */

export class PulseFeed {
  /**
   * @param {EventTarget & {send: (data: string) => boolean, phase: {name: string}}} connection
   * @param {PulseOptions} [options]
   */
  constructor(connection, { now = () => performance.now(), page = document } = {}) {
    this._connection = connection;
    this._now = now;
    this._page = page;
    /** @type {PulseState} */
    this._state = { level: 0, bands: new Float32Array(PULSE_BANDS), onset: 0, live: false };
    this._target = { level: 0, bands: new Float32Array(PULSE_BANDS) };
    /** Pulses that wait for their time, oldest first. @type {{due: number, pulse: import("./protocol.js").Pulse}[]} */
    this._waiting = [];
    /** Milliseconds of this page at which the stream's time 0 would show; NaN before any pulse. */
    this._offset = NaN;
    this._arrivedAt = -Infinity;
    this._shownAt = -Infinity;
    this._asked = false;
    connection.addEventListener("phase", () => {
      this._asked = false;
      this._ask();
    });
    connection.addEventListener("message", (event) => this._receive(/** @type {CustomEvent} */ (event).detail));
    page.addEventListener("visibilitychange", () => this._ask());
  }

  /**
   * @param {number} nowMs  `performance.now()`, or the time that the browser gives to a frame
   * @returns {PulseState} the same object each time, all 0 while no pulses arrive
   */
  at(nowMs) {
    while (this._waiting.length && this._waiting[0].due <= nowMs) {
      const { due, pulse } = /** @type {{due: number, pulse: import("./protocol.js").Pulse}} */ (this._waiting.shift());
      this._move(due);
      this._target.level = levelOf(pulse.level_db);
      this._target.bands.set(pulse.bands);
      this._state.onset = Math.max(this._state.onset, pulse.onset);
    }
    this._state.live = nowMs - this._arrivedAt < LIVE_MS;
    if (!this._state.live) this._calm();
    this._move(nowMs);
    return this._state;
  }

  /** Moves what is shown towards the newest pulse. The result does not depend on the frame rate. @param {number} to */
  _move(to) {
    const passed = to - this._shownAt;
    if (!(passed > 0)) return;
    this._shownAt = to;
    const rise = 1 - Math.exp(-passed / RISE_MS);
    const fall = 1 - Math.exp(-passed / FALL_MS);
    const state = this._state;
    const follow = (/** @type {number} */ from, /** @type {number} */ towards) =>
      from + (towards - from) * (towards > from ? rise : fall);
    state.level = follow(state.level, this._target.level);
    for (let k = 0; k < PULSE_BANDS; k += 1) state.bands[k] = follow(state.bands[k], this._target.bands[k]);
    state.onset *= Math.exp(-passed / ONSET_MS);
  }

  /** What is shown falls to 0. */
  _calm() {
    this._target.level = 0;
    this._target.bands.fill(0);
    this._waiting.length = 0;
    this._offset = NaN;
  }

  /** @param {import("./protocol.js").Message} message */
  _receive(message) {
    // Another session may begin: its stream times say nothing about those before.
    if (message.type === "hello") this._calm();
    if (message.type !== "pulse" || !message.pulses.length) return;
    const now = this._now();
    this._arrivedAt = now;
    // The oldest pulse of a message has waited longest: with it in time, all others are.
    const offset = now - 1000 * message.pulses[0].t;
    const change = offset - this._offset;
    if (Math.abs(change) < MAX_WAIT_MS) {
      this._offset += (change > 0 ? LATER : SOONER) * change;
    } else {
      this._waiting.length = 0;
      this._offset = offset;
    }
    for (const pulse of message.pulses) this._waiting.push({ due: this._offset + 1000 * pulse.t, pulse });
    if (this._waiting.length > MAX_WAITING) this._waiting.splice(0, this._waiting.length - MAX_WAITING);
  }

  _ask() {
    if (this._connection.phase.name !== "open" || this._asked === !this._page.hidden) return;
    if (this._connection.send(pulseMessage(!this._page.hidden))) this._asked = !this._page.hidden;
  }
}

/**
 * @param {number} db
 * @returns {number} 0 to 1
 */
export function levelOf(db) {
  return Math.max(0, Math.min(1, 1 - db / FLOOR_DB));
}
