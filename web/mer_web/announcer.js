/**
 * The text line for screen readers. It changes at most once a second, and only for news: another mood, another
 * state, or a clear change of a value.
 */

import { signed } from "./text.js";
import { shownValues } from "./value-range.js";

export const MIN_INTERVAL_MS = 1000;
/** Least change of a value since it was last announced. */
const STEP = 0.1;
/** Least time between announcements of changed values alone. */
const DRIFT_MS = 5000;

/** @type {Record<string, string>} */
const STATES = {
  silence: "Silence, last values.",
  settling: "Settling: not enough music yet.",
  speech: "Speech, last values.",
  noise: "Noise, last values.",
  stalled: "No audio arrives, last values.",
  engine: "The engine does not work, last values.",
};

export class Announcer {
  /**
   * @param {(text: string) => void} output  writes the line
   */
  constructor(output) {
    this._output = output;
    this._text = "";
    this._writtenAt = -Infinity;
    this._mood = "";
    this._state = "";
    /** Whether a stall is the engine's and not that of the audio. */
    this.engineFails = false;
    this._valence = NaN;
    this._arousal = NaN;
    /** Texts to announce as soon as possible. @type {string[]} */
    this._queue = [];
  }

  /**
   * Announces an event, such as a lost connection or a new input.
   * @param {string} text
   * @param {number} now milliseconds
   */
  event(text, now) {
    if (this._queue[this._queue.length - 1] !== text) this._queue.push(text);
    this._queue.splice(0, Math.max(0, this._queue.length - 3));
    this.tick(now);
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} now milliseconds
   */
  estimate(estimate, now) {
    const since = now - this._writtenAt;
    if (since < MIN_INTERVAL_MS || this._queue.length) {
      this.tick(now);
      return;
    }
    const state = estimate.state === "stalled" && this.engineFails ? "engine" : estimate.state;
    const other = estimate.mood !== this._mood || state !== this._state;
    const { valence, arousal } = shownValues(estimate);
    const moved = Math.max(Math.abs(valence - this._valence), Math.abs(arousal - this._arousal));
    if (!other && !(moved >= STEP && since >= DRIFT_MS)) return;
    this._mood = estimate.mood;
    this._state = state;
    const sentence = STATES[state];
    this._valence = valence;
    this._arousal = arousal;
    const mood = estimate.mood || "no mood yet";
    const place = `${mood}, valence ${signed(valence, 1)}, arousal ${signed(arousal, 1)}.`;
    this._write(sentence ? `${sentence} ${place}` : place, now);
  }

  /**
   * Announces the next queued text, if a second has passed.
   * @param {number} now milliseconds
   */
  tick(now) {
    if (!this._queue.length || now - this._writtenAt < MIN_INTERVAL_MS) return;
    this._write(/** @type {string} */ (this._queue.shift()), now);
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  _write(text, now) {
    if (text === this._text) return;
    this._text = text;
    this._writtenAt = now;
    this._output(text);
  }
}
