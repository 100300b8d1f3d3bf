/** What the canvases take from the style sheet: colours, fonts and whether things may move. One truth: CSS. */

import { Palette } from "./palette.js";

/**
 * @typedef {object} Look
 * @property {import("./palette.js").Theme} theme
 * @property {Palette} palette
 * @property {string} ink       text
 * @property {string} muted     lesser text
 * @property {string} line      hairlines
 * @property {string} strong    lines that must be seen
 * @property {string} ground    what canvases stand on
 * @property {string} warn
 * @property {string} font      family list
 * @property {boolean} overlay  whether unknown pictures lie behind the page
 */

/** @type {Map<string, Palette>} */
const palettes = new Map();

/**
 * @param {HTMLElement} root
 * @returns {Look}
 */
export function readLook(root) {
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
    font: colour("--font"),
    overlay: root.dataset.overlay !== undefined,
  };
}
