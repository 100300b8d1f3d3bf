/** How the page was asked to look: by its address, by what was chosen before, by the system. */

import { ZOOMS_S } from "./timeline.js";

/**
 * @typedef {"dark"|"light"|"auto"} ThemeChoice
 * @typedef {"plane"|"badge"|"timeline"} Piece
 *
 * @typedef {object} Settings
 * @property {boolean} overlay     only a piece, on nothing
 * @property {Piece} show
 * @property {number} zoom         seconds of the timeline
 * @property {number} bench        seconds to measure each length of the timeline for, 0 for no bench
 */

/**
 * @param {string} search the query of the page's address
 * @returns {Settings}
 */
export function readSettings(search) {
  const query = new URLSearchParams(search);
  const on = (/** @type {string} */ name) => query.has(name) && !["0", "false", "no"].includes(query.get(name) ?? "");
  const show = query.get("show");
  const zoom = { "1m": 60, "10m": 600, "1h": 3600 }[query.get("zoom") ?? ""] ?? ZOOMS_S[0];
  return {
    overlay: on("overlay"),
    show: show === "badge" || show === "timeline" ? show : "plane",
    zoom,
    bench: on("bench") ? Math.max(1, Math.min(60, Number(query.get("bench")) || 4)) : 0,
  };
}

/**
 * Something small that is remembered on this machine, where the browser lets us.
 * @param {string} name
 * @returns {string|null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(`realtime-mer.${name}`);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(`realtime-mer.${name}`, value);
  } catch {
    // A browser that stores nothing simply asks again next time.
  }
}
