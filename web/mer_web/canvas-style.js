/** Colours and fonts of the canvases, read from the style sheet. */

import { Palette } from "./palette.js";

/**
 * @typedef {object} CanvasStyle
 * @property {import("./palette.js").Theme} theme
 * @property {Palette} palette
 * @property {string} ink       text
 * @property {string} muted     secondary text
 * @property {string} line      hairlines
 * @property {string} strong    emphasised lines
 * @property {string} ground    background of the canvases
 * @property {string} warn
 * @property {string} personal  of a person's map
 * @property {string} font      family list
 * @property {boolean} overlay  whether the page is a transparent overlay
 */

/** @type {Map<string, Palette>} */
const palettes = new Map();

/**
 * @param {HTMLElement} root
 * @returns {CanvasStyle}
 */
export function readCanvasStyle(root) {
  const style = getComputedStyle(root);
  const theme = root.dataset.theme === "light" ? "light" : "dark";
  const palette = palettes.get(theme) ?? new Palette(theme);
  palettes.set(theme, palette);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    theme,
    palette,
    ink: colour("--ink"),
    muted: colour("--muted"),
    line: colour("--line"),
    strong: colour("--strong"),
    ground: colour("--sunk"),
    warn: colour("--warn"),
    personal: colour("--personal"),
    font: colour("--font"),
    overlay: root.dataset.overlay !== undefined,
  };
}
