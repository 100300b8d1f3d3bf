/** Which values the page draws: the place among music, where the server sends it, or the model's own values. */

import { loadPreference, savePreference } from "./settings.js";

/** @typedef {"music"|"raw"} Range */

/** What the page calls them. @type {Record<Range, string>} */
export const RANGES = { music: "among music", raw: "raw" };

/** What this page shows: what its viewer chose, and whether the server sends the place among music; null before it is known. */
const range = { choice: /** @type {Range} */ ("music"), hasMusic: /** @type {boolean|null} */ (null) };

/**
 * Takes the range from the page's URL, else from the stored choice.
 * @param {string} search the query of the page's URL
 */
export function readRange(search) {
  const choice = new URLSearchParams(search).get("range") ?? loadPreference("range");
  range.choice = choice === "raw" ? "raw" : "music";
}

/** @param {Range} choice what the viewer wants to see; kept in the browser */
export function chooseRange(choice) {
  range.choice = choice;
  savePreference("range", choice);
}

/** @param {boolean} hasMusic whether the server sends the place among music */
export function setHasMusic(hasMusic) {
  range.hasMusic = hasMusic;
}

/** @returns {Range} the range of the values shown */
export function shownRange() {
  return range.hasMusic === false ? "raw" : range.choice;
}

/**
 * @param {"valence"|"arousal"} axis
 * @returns {string} its name, with the range once that is known
 */
export function axisName(axis) {
  return range.hasMusic === null ? axis : `${axis}, ${RANGES[shownRange()]}`;
}

/**
 * @template T
 * @param {T & {scaled?: import("./protocol.js").AxisValues}} values  an estimate or its fast values
 * @returns {T | import("./protocol.js").AxisValues} the ones to draw
 */
export function shownValues(values) {
  return (range.choice === "music" && values.scaled) || values;
}

/**
 * @param {import("./protocol.js").Hello} hello
 * @returns {string} the range as the page names it; empty for a server that sends none
 */
export function rangeLine({ range: sent, adapt }) {
  return sent && `range: ${sent}${adapt ? ", adapting" : ""}`;
}
