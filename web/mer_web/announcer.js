/**
 * The text line for screen readers. It changes at most once a second, and only when it has something new to
 * say: another mood, another state, a value that moved by a step one would hear.
 */

import { signed } from "./text.js";

export const LEAST_MS = 1000;
/** A value must have moved so far since it was last said. */
export const STEP = 0.1;
/** Values that merely drift are not worth interrupting for more often than this. */
export const DRIFT_MS = 5000;

/** @type {Record<string, string>} */
const STATES = {
  silence: "Silence, holding the last values.",
  settling: "Settling: still gathering music.",
  stalled: "No audio arrives, holding the last values.",
};

export class Announcer {
  /**
   * @param {(text: string) => void} say  writes the line
   */
  constructor(say) {
    this._say = say;
    this._text = "";
    this._at = -Infinity;
    this._mood = "";
    this._state = "";
    this._valence = NaN;
    this._arousal = NaN;
    /** What is to be said as soon as it may. @type {string[]} */
    this._waiting = [];
  }

  /**
   * Something that happened beside the estimates: a connection lost, an input chosen.
   * @param {string} text
   * @param {number} now milliseconds
   */
  event(text, now) {
    if (this._waiting[this._waiting.length - 1] !== text) this._waiting.push(text);
    this._waiting.splice(0, Math.max(0, this._waiting.length - 3));
    this.tick(now);
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} now milliseconds
   */
  estimate(estimate, now) {
    const since = now - this._at;
    if (since < LEAST_MS || this._waiting.length) {
      this.tick(now);
      return;
    }
    const other = estimate.mood !== this._mood || estimate.state !== this._state;
    const moved = Math.max(Math.abs(estimate.valence - this._valence),
                           Math.abs(estimate.arousal - this._arousal));
    if (!other && !(moved >= STEP && since >= DRIFT_MS)) return;
    this._mood = estimate.mood;
    this._state = estimate.state;
    this._valence = estimate.valence;
    this._arousal = estimate.arousal;
    const state = STATES[estimate.state];
    const place = `${estimate.mood}, valence ${signed(estimate.valence, 1)}, arousal ${signed(estimate.arousal, 1)}.`;
    this._write(state ? `${state} ${place}` : place, now);
  }

  /**
   * Says what waits, where a second has passed.
   * @param {number} now milliseconds
   */
  tick(now) {
    if (!this._waiting.length || now - this._at < LEAST_MS) return;
    this._write(/** @type {string} */ (this._waiting.shift()), now);
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  _write(text, now) {
    if (text === this._text) return;
    this._text = text;
    this._at = now;
    this._say(text);
  }
}
