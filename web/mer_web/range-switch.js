/** The switch between the range of music and raw values, on the plane's horizontal axis in place of its name. */

import { element } from "./dom.js";
import { chooseRange, readRange, setHasMusic, shownRange } from "./value-range.js";

export class RangeSwitch {
  /**
   * @param {import("./plane.js").Plane} plane
   * @param {() => void} changed  is called when other values are to be shown
   */
  constructor(plane, changed) {
    this._plane = plane;
    this._changed = changed;
    this._box = element("range", HTMLFieldSetElement);
    this._radios = /** @type {HTMLInputElement[]} */ ([...this._box.querySelectorAll("input")]);
    readRange(location.search);
    for (const radio of this._radios) {
      radio.addEventListener("change", () => this._choose(/** @type {import("./value-range.js").Range} */ (radio.value)));
    }
    const canvas = element("plane", HTMLCanvasElement);
    // The plane has measured itself before: it observes the same element since earlier.
    new ResizeObserver(() => this._place(canvas)).observe(canvas);
  }

  /** @param {boolean} hasMusic whether the server sends the place among music */
  setAvailable(hasMusic) {
    setHasMusic(hasMusic);
    this._box.hidden = !hasMusic;
    this._show();
  }

  toggle() {
    if (!this._box.hidden) this._choose(shownRange() === "music" ? "raw" : "music");
  }

  /** @param {import("./value-range.js").Range} range */
  _choose(range) {
    chooseRange(range);
    this._show();
    this._changed();
  }

  _show() {
    for (const radio of this._radios) radio.checked = radio.value === shownRange();
    this._plane.setRange(!this._box.hidden);
  }

  /** @param {HTMLCanvasElement} canvas */
  _place(canvas) {
    const { left, top, text } = this._plane.axisMiddle;
    this._box.style.left = `${canvas.offsetLeft + left}px`;
    this._box.style.top = `${canvas.offsetTop + top}px`;
    this._box.style.fontSize = `${text}px`;
  }
}
