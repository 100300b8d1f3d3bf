/** A moment of the history in words: for the card at the pointer, and for screen readers. */

import { STATES } from "./protocol.js";
import { behindText } from "./time-window.js";
import { timeOfDay } from "./time-axis.js";
import { signed } from "./text.js";
import { shownValues } from "./value-range.js";

/**
 * @typedef {object} MomentText
 * @property {number} valence  as on the page
 * @property {number} arousal
 * @property {string} title    when it was
 * @property {string} mood     with the state, unless that is tracking
 * @property {[string, string, string][]} rows  name, value and interval of each line
 */

/**
 * @param {import("./history.js").Moment} moment
 * @param {number} now  seconds of the axis
 * @param {{name: string, place: import("./ghost.js").Place}|null} ghost  the other session at the same stream time
 * @returns {MomentText}
 */
export function describe(moment, now, ghost) {
  const shown = shownValues({ ...moment.raw, ...(moment.scaled && { scaled: moment.scaled }) });
  const state = STATES[moment.state] ?? "";
  const interval = (/** @type {number} */ low, /** @type {number} */ high) => `${signed(low)} … ${signed(high)}`;
  /** @type {[string, string, string][]} */
  const rows = [
    ["valence", signed(shown.valence), interval(shown.valence_low, shown.valence_high)],
    ["arousal", signed(shown.arousal), interval(shown.arousal_low, shown.arousal_high)],
  ];
  if (moment.scaled && shown.valence === moment.scaled.valence && shown.arousal === moment.scaled.arousal) {
    rows.push(["raw", signed(moment.raw.valence), signed(moment.raw.arousal)]);
  }
  if (ghost) rows.push([ghost.name, signed(ghost.place.valence), signed(ghost.place.arousal)]);
  return {
    valence: shown.valence,
    arousal: shown.arousal,
    title: `${timeOfDay(moment.utc_ms / 1000, true)}, ${behindText(now - moment.time)}`,
    mood: [moment.mood, state === "tracking" ? "" : state].filter(Boolean).join(", ") || "–",
    rows,
  };
}

/**
 * @param {MomentText} text
 * @returns {string} a sentence
 */
export function sentence({ title, mood, rows }) {
  return [title, mood, ...rows.map(([name, value, more]) => `${name} ${value}, ${more}`)].join("; ");
}
