/**
 * A person's own map: where this person would tap, as a second point on the plane, beside the model's values and never
 * in their place. The server fits the map; the page applies it.
 */

import { element, setText } from "./dom.js";
import { repeats } from "./protocol.js";
import { loadPreference, savePreference } from "./settings.js";
import { counted, signed } from "./text.js";

/** @typedef {import("./protocol.js").Personal} Personal */
/** @typedef {import("./protocol.js").AxisValues} AxisValues */

const clip = (/** @type {number} */ value) => Math.max(-1, Math.min(1, value));

/**
 * @param {Personal["map"]} map
 * @param {AxisValues} raw  the model's own values
 * @returns {AxisValues} where the person would tap, with the interval that holds such taps
 */
export function personalValues(map, raw) {
  const valence = clip(map.valence.shift + map.valence.scale * raw.valence);
  const arousal = clip(map.arousal.shift + map.arousal.scale * raw.arousal);
  return {
    valence,
    arousal,
    valence_low: clip(valence - map.valence.widen * (raw.valence - raw.valence_low)),
    valence_high: clip(valence + map.valence.widen * (raw.valence_high - raw.valence)),
    arousal_low: clip(arousal - map.arousal.widen * (raw.arousal - raw.arousal_low)),
    arousal_high: clip(arousal + map.arousal.widen * (raw.arousal_high - raw.arousal)),
  };
}

export class PersonalLayer {
  /** @param {import("./plane.js").Plane} plane */
  constructor(plane) {
    this._plane = plane;
    this._row = element("personal", HTMLElement);
    this._switch = element("personal-on", HTMLInputElement);
    this._name = element("personal-name", HTMLElement);
    this._values = element("personal-values", HTMLElement);
    this._advice = element("personal-advice", HTMLElement);
    /** @type {Personal|undefined} */
    this._personal = undefined;
    /** @type {import("./protocol.js").Estimate|null} */
    this._estimate = null;
    this._switch.addEventListener("change", () => {
      savePreference("personal", this._switch.checked ? "on" : "off");
      this._draw();
    });
  }

  /** @param {Personal|undefined} personal absent where the server keeps no person's taps */
  update(personal) {
    this._personal = personal;
    this._row.hidden = personal === undefined;
    if (personal) {
      setText(this._name, `your map (${counted(personal.taps, "tap")})`);
      setText(this._advice, personal.worth_using ? "" : "not used yet");
      this._row.title = personal.advice;
      this._switch.disabled = !personal.worth_using;
      this._switch.checked = personal.worth_using && loadPreference("personal") !== "off";
    }
    this._draw();
  }

  /** @param {import("./protocol.js").Estimate|null} estimate the one that is shown; null for none */
  show(estimate) {
    this._estimate = estimate;
    this._draw();
  }

  _draw() {
    const shown = this._personal && this._estimate && this._switch.checked && !repeats(this._estimate.state);
    const values = shown && this._personal && this._estimate ? personalValues(this._personal.map, this._estimate) : null;
    this._plane.showPersonal(values);
    setText(this._values, values ? `valence ${signed(values.valence)}, arousal ${signed(values.arousal)}` : "");
    const within = values ? `Valence within ${signed(values.valence_low)} … ${signed(values.valence_high)}, arousal within `
      + `${signed(values.arousal_low)} … ${signed(values.arousal_high)}` : "";
    if (this._values.title !== within) this._values.title = within;
  }
}
