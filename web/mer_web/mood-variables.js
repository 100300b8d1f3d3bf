/** The moment as CSS variables of the page, for its style sheets and for those of users. */

import { planeBytes } from "./palette.js";
import { levelOf } from "./pulse.js";
import { shownValues } from "./value-range.js";

/**
 * @param {CSSStyleDeclaration} style  of the root element
 * @param {import("./protocol.js").Estimate} estimate
 * @param {import("./palette.js").Palette} palette
 */
export function setMoodVariables(style, estimate, palette) {
  const { valence, arousal } = shownValues(estimate);
  const rgb = planeBytes(valence, arousal, palette.theme).join(", ");
  style.setProperty("--mood", palette.ink(valence, arousal));
  style.setProperty("--mood-color", `rgb(${rgb})`);
  style.setProperty("--mood-color-rgb", rgb);
  style.setProperty("--valence", valence.toFixed(3));
  style.setProperty("--arousal", arousal.toFixed(3));
  style.setProperty("--level", levelOf(estimate.level_db).toFixed(3));
}
