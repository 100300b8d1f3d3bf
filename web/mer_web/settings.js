/** Settings from the page's URL, and preferences stored in the browser. */

import { USUAL_S } from "./time-window.js";

export const PIECES = /** @type {const} */ (["wash", "badge", "plane", "timeline"]);
const SIDES = /** @type {const} */ ([
  "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right",
]);
const COLOUR = /^#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i;
/** Names of font families; nothing that ends a value or a rule of a style sheet. */
const FAMILY = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;

/**
 * @typedef {"dark"|"light"|"auto"} ThemeChoice
 * @typedef {typeof PIECES[number]} Piece
 * @typedef {typeof SIDES[number]} Side
 *
 * @typedef {object} OverlaySettings
 * @property {Piece[]} show     each once
 * @property {number} size      factor of all lengths, 0.25 to 6
 * @property {Side} side        where the pieces lie
 * @property {string} color     in place of the mood's, as all colours #rgb, #rgba, #rrggbb or #rrggbbaa; empty for none
 * @property {string} text      colour of the text; empty for the theme's
 * @property {string} ground    colour of plate and outline; empty for the theme's
 * @property {string} font      a family; empty for the page's
 * @property {boolean} plate    whether pieces lie on a plate
 * @property {boolean} outline  whether text and lines have an outline
 * @property {number} opacity   of the wash, 0 to 1
 *
 * @typedef {object} Settings
 * @property {OverlaySettings|null} overlay  pieces on a transparent background; null for the page
 * @property {number} zoom         seconds of the timeline
 * @property {boolean} stage       enter stage mode at once
 * @property {string} scene        its scene; empty for the last one
 * @property {number} bench        seconds to measure each length of the timeline; 0 for no benchmark
 * @property {string[]} faults     a sentence for each value of the overlay that is not used
 */

/**
 * @param {string|null} value
 * @returns {boolean} whether a parameter with this value is on
 */
function isOn(value) {
  return value !== null && !["0", "false", "no"].includes(value);
}

/**
 * @param {string} search the query of the page's URL
 * @returns {Settings}
 */
export function readSettings(search) {
  const query = new URLSearchParams(search);
  /** @type {string[]} */
  const faults = [];
  const zoom = { "1m": 60, "10m": 600, "1h": 3600 }[query.get("zoom") ?? ""] ?? USUAL_S;
  return {
    overlay: isOn(query.get("overlay")) ? readOverlay(query, faults) : null,
    zoom,
    stage: isOn(query.get("stage")),
    scene: query.get("scene") ?? "",
    bench: isOn(query.get("bench")) ? Math.max(1, Math.min(60, Number(query.get("bench")) || 4)) : 0,
    faults,
  };
}

/**
 * @param {URLSearchParams} query
 * @param {string[]} faults gets a sentence for each value that is not used
 * @returns {OverlaySettings}
 */
function readOverlay(query, faults) {
  /**
   * @template T
   * @param {string} name
   * @param {T} otherwise  the value without the parameter, or with a bad one
   * @param {string} hint  what it may be
   * @param {(value: string) => T|undefined} parse
   * @returns {T}
   */
  const read = (name, otherwise, hint, parse) => {
    const value = query.get(name);
    if (value === null) return otherwise;
    const parsed = parse(value.trim());
    if (parsed === undefined) faults.push(`the overlay ignores ${name}=${value.slice(0, 80)}: write ${hint}`);
    return parsed ?? otherwise;
  };
  const number = (/** @type {number} */ low, /** @type {number} */ high) => (/** @type {string} */ value) => {
    const parsed = Number(value || NaN);
    return parsed >= low && parsed <= high ? parsed : undefined;
  };
  const colour = (/** @type {string} */ name) => read(name, "", "a colour such as ffcc00 or %23ffcc00", (value) => {
    const match = COLOUR.exec(value);
    return match ? `#${match[1].toLowerCase()}` : undefined;
  });
  const flag = (/** @type {string} */ name, /** @type {boolean} */ otherwise) => read(name, otherwise, "1 or 0",
    (value) => (["0", "false", "no"].includes(value) ? false : ["", "1", "true", "yes"].includes(value) || undefined));
  const show = read("show", /** @type {Piece[]} */ (["plane"]), `some of ${PIECES.join(", ")}`, (value) => {
    const words = value.split(",").map((word) => word.trim());
    return words.every((word) => PIECES.some((piece) => piece === word))
      ? PIECES.filter((piece) => words.includes(piece)) : undefined;
  });
  const plate = flag("plate", true);
  // theme.js uses it.
  read("theme", "dark", "dark or light",
    (value) => (["dark", "light", "auto"].includes(value) ? value : undefined));
  return {
    show,
    size: read("size", 1, "a factor from 0.25 to 6", number(0.25, 6)),
    side: read("side", /** @type {Side} */ ("bottom-left"), `one of ${SIDES.join(", ")}`,
      (value) => SIDES.find((side) => side === value)),
    color: colour("color"),
    text: colour("text"),
    ground: colour("ground"),
    font: read("font", "", "the name of a font of this machine", (value) => (FAMILY.test(value) ? value : undefined)),
    plate,
    outline: flag("outline", !plate),
    opacity: read("opacity", 0.4, "a number from 0 to 1", number(0, 1)),
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
