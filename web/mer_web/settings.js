/** Settings from the page's URL, and preferences stored in the browser. */

import { ZOOMS_S } from "./timeline.js";

/**
 * @typedef {"dark"|"light"|"auto"} ThemeChoice
 * @typedef {"plane"|"badge"|"timeline"} Piece
 *
 * @typedef {object} Settings
 * @property {boolean} overlay     one piece on a transparent background
 * @property {Piece} show
 * @property {number} zoom         seconds of the timeline
 * @property {boolean} stage       enter stage mode at once
 * @property {string} scene        its scene; empty for the last one
 * @property {number} bench        seconds to measure each length of the timeline; 0 for no benchmark
 */

/**
 * @param {string} search the query of the page's URL
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
    stage: on("stage"),
    scene: query.get("scene") ?? "",
    bench: on("bench") ? Math.max(1, Math.min(60, Number(query.get("bench")) || 4)) : 0,
  };
}

const TOKEN = "realtime-mer.token";

/** @returns {string|null} the token of this tab */
export function loadToken() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null;
  }
}

/** @param {string} token kept until the tab is closed */
export function saveToken(token) {
  try {
    sessionStorage.setItem(TOKEN, token);
  } catch {
    // Storage is disabled: the token lasts until the page is reloaded.
  }
}

export function dropToken() {
  try {
    sessionStorage.removeItem(TOKEN);
  } catch {
    // There is none.
  }
}

/**
 * Loads a preference from the browser's storage; null if there is none or storage is disabled.
 * @param {string} name
 * @returns {string|null}
 */
export function loadPreference(name) {
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
export function savePreference(name, value) {
  try {
    localStorage.setItem(`realtime-mer.${name}`, value);
  } catch {
    // Storage is disabled: the preference lasts for this visit only.
  }
}
