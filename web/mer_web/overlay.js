/**
 * The overlay for mixers such as OBS: pieces of the page on a transparent background, arranged by the URL's parameters.
 *
 * What is drawn follows CSS variables (docs/page.md), so that a mixer's custom CSS changes it. The parameters are a
 * style element before it: custom CSS wins.
 */

import { element, setData, setText } from "./dom.js";
import { signed } from "./text.js";
import { shownValues } from "./value-range.js";
import { Wash } from "./wash.js";

/** Seconds in which the wash follows the music: too slow to flash at any rhythm. */
const RISE_S = 0.45;
const FALL_S = 0.9;
/** Steps smaller than this cannot be seen. */
const VISIBLE = 0.004;

/**
 * @param {import("./settings.js").OverlaySettings} settings
 * @returns {string} the style sheet of the parameters
 */
export function parameterStyle({ size, color, text, ground, font, opacity }) {
  const variables = [`--overlay-size: ${size}`, `--overlay-opacity: ${opacity}`];
  if (color) variables.push(`--overlay-color: ${color}`);
  if (text) variables.push(`--overlay-text: ${text}`, `--overlay-muted: ${text}`, `--overlay-word: ${text}`);
  if (ground) variables.push(`--overlay-ground: ${ground}`, `--overlay-outline: ${opaque(ground)}`);
  if (font) variables.push(`--font: "${font}", system-ui, sans-serif`);
  return `:root { ${variables.join("; ")} }`;
}

/**
 * @param {string} colour #rgb, #rgba, #rrggbb or #rrggbbaa
 * @returns {string} the same without its alpha
 */
function opaque(colour) {
  return colour.length > 5 ? colour.slice(0, 7) : colour.slice(0, 4);
}

/**
 * @param {string} name of an element's class
 * @param {Node[]} content
 */
function box(name, ...content) {
  const made = document.createElement("div");
  made.className = name;
  made.append(...content);
  return made;
}

export class Overlay {
  /**
   * Takes the pieces out of the page.
   * @param {HTMLElement} root
   * @param {import("./settings.js").OverlaySettings} settings
   * @param {() => void} restyled  is called when a style sheet was added to the page
   */
  constructor(root, settings, restyled) {
    const has = (/** @type {import("./settings.js").Piece} */ piece) => settings.show.includes(piece);
    root.dataset.overlay = settings.show.join(" ");
    root.dataset.plate = settings.plate ? "on" : "off";
    root.dataset.outline = settings.outline ? "on" : "off";
    const style = document.createElement("style");
    style.textContent = parameterStyle(settings);
    document.head.append(style);
    this._mood = document.createElement("span");
    this._values = /** @type {const} */ (["valence", "arousal"]).map((axis) => {
      const number = document.createElement("b");
      number.textContent = "–";
      const value = document.createElement("span");
      value.className = `overlay-${axis}`;
      value.append(`${axis} `, number);
      return { axis, number, value };
    });
    this._halo = box("overlay-halo");
    this._dot = box("overlay-dot", this._halo);
    this._at = box("overlay-at", this._dot);
    this._mood.className = "overlay-mood";
    this._badge = box("overlay-badge", box("overlay-place", this._at),
                      box("overlay-text", this._mood, box("overlay-values", ...this._values.map(({ value }) => value))));
    const column = box("overlay-column");
    if (has("badge")) column.append(this._badge);
    if (has("timeline")) column.append(box("overlay-timeline", element("timeline", HTMLCanvasElement)));
    const group = box("overlay-group");
    if (has("plane")) group.append(box("overlay-plane", element("plane", HTMLCanvasElement)));
    if (column.childElementCount) group.append(column);
    const overlay = box("overlay", group);
    const side = settings.side.replace("-", " ");
    this._wash = has("wash") ? new Wash(side) : null;
    if (this._wash) overlay.prepend(this._wash.element);
    overlay.dataset.side = side;
    const pieces = settings.show.filter((piece) => piece !== "wash");
    if (pieces.length === 1) overlay.dataset.alone = pieces[0];
    document.body.append(overlay);
    this._breath = 0;
    this._shownBeat = NaN;
    this._frameAt = NaN;
    this._reduced = matchMedia("(prefers-reduced-motion: reduce)");
    // The custom CSS of a mixer arrives as an element of the head, after the page has loaded.
    new MutationObserver(restyled).observe(document.head, { childList: true, subtree: true, characterData: true });
  }

  /**
   * Shows the text; to be called at most four times a second.
   * @param {import("./headline.js").Headline} headline
   * @param {import("./protocol.js").Estimate|null} estimate  the newest
   */
  tick({ word, state, isMood }, estimate) {
    setData(this._badge, "state", isMood ? "mood" : state);
    if (this._mood.textContent !== word) {
      setText(this._mood, word);
      if (!this._reduced.matches) {
        this._mood.animate([{ opacity: 0, transform: "translateY(0.12em)" }, { opacity: 1, transform: "none" }],
                           { duration: 400, easing: "ease-out" });
      }
    }
    if (!estimate) return;
    const shown = shownValues(estimate);
    for (const { axis, number } of this._values) setText(number, signed(shown[axis]));
    const percent = (/** @type {number} */ value) => `${(50 * value).toFixed(1)}%`;
    this._at.style.transform = `translate(${percent(shown.valence)}, ${percent(-shown.arousal)})`;
  }

  /**
   * Breathes with the music.
   * @param {{level: number, bands: ArrayLike<number>, onset: number, live: boolean}} pulse
   * @param {number} now milliseconds
   */
  draw({ level, bands, onset, live }, now) {
    const seconds = Math.min(0.1, Math.max(0, (now - this._frameAt) / 1000)) || 0;
    this._frameAt = now;
    const still = this._reduced.matches;
    const aim = still ? 0.5 : live ? 0.5 * level + 0.5 * Math.max(bands[0] ?? 0, bands[1] ?? 0) : 0;
    if (still) this._breath = aim;
    else this._breath += (aim - this._breath) * (1 - Math.exp(-seconds / (aim > this._breath ? RISE_S : FALL_S)));
    this._wash?.draw(this._breath);
    const beat = still || !live ? 0 : 0.6 * level + 0.4 * onset;
    if (!(Math.abs(beat - this._shownBeat) < VISIBLE)) {
      this._shownBeat = beat;
      this._halo.style.transform = `scale(${(0.55 + 0.75 * beat).toFixed(3)})`;
    }
  }
}
