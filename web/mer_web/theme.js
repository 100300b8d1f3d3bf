/** Dark or light: from the URL, else from the stored choice, else from the system, whose changes it follows. */

import { loadPreference, savePreference } from "./settings.js";

/** @typedef {import("./settings.js").ThemeChoice} ThemeChoice */

const LIGHT = "(prefers-color-scheme: light)";

export class Theme {
  /**
   * @param {HTMLElement} root
   * @param {() => void} changed
   * @param {boolean} [overlay]  dark, unless the URL asks for light
   */
  constructor(root, changed, overlay = false) {
    this._root = root;
    this._changed = changed;
    const requested = new URLSearchParams(location.search).get("theme") ?? (overlay ? "dark" : loadPreference("theme"));
    /** @type {ThemeChoice} */
    this.choice = requested === "dark" || requested === "light" ? requested : overlay ? "dark" : "auto";
    this._system = matchMedia(LIGHT);
    this._system.addEventListener("change", () => this._apply());
    this._apply();
  }

  /** Switches between dark and light. */
  toggle() {
    this.choice = this._root.dataset.theme === "light" ? "dark" : "light";
    savePreference("theme", this.choice);
    this._apply();
  }

  _apply() {
    this._root.dataset.theme = this.choice === "auto" ? (this._system.matches ? "light" : "dark") : this.choice;
    this._changed();
  }
}
