/** Says, the first time, why the browser asks for the microphone and where the sound goes. */

import { destinationLine } from "./destination.js";
import { element, setText } from "./dom.js";
import { loadPreference, savePreference } from "./settings.js";

const SEEN = "microphone-hint";

export class MicrophoneHint {
  constructor() {
    this._hint = element("hint", HTMLElement);
    this._isSeen = loadPreference(SEEN) === "seen";
    setText(element("hint-place", HTMLElement), destinationLine(location));
    element("hint-close", HTMLButtonElement).addEventListener("click", () => this._finish());
  }

  /**
   * Shows itself while the browser asks for the first time, and goes for good once the microphone runs.
   * @param {import("./input.js").Choice} choice
   */
  update({ kind, phase }) {
    if (kind === "microphone" && phase === "running") this._finish();
    else this._hint.hidden = this._isSeen || kind !== "microphone" || phase !== "opening";
  }

  /** For a page with nothing else to listen to. */
  show() {
    this._hint.hidden = this._isSeen;
  }

  _finish() {
    this._isSeen = true;
    this._hint.hidden = true;
    savePreference(SEEN, "seen");
  }
}
