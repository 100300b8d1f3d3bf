/** Dark or light: as chosen in the address, as chosen here before, else as the system is, and as it changes. */

import { recall, remember } from "./settings.js";

/** @typedef {import("./settings.js").ThemeChoice} ThemeChoice */

const LIGHT = "(prefers-color-scheme: light)";

export class Theme {
  /**
   * @param {HTMLElement} root
   * @param {() => void} changed
   */
  constructor(root, changed) {
    this._root = root;
    this._changed = changed;
    const asked = new URLSearchParams(location.search).get("theme") ?? recall("theme");
    /** @type {ThemeChoice} */
    this.choice = asked === "dark" || asked === "light" ? asked : "auto";
    this._system = matchMedia(LIGHT);
    this._system.addEventListener("change", () => this._apply());
    this._apply();
  }

  /** To the other of the two that can be seen. */
  toggle() {
    this.choice = this._root.dataset.theme === "light" ? "dark" : "light";
    remember("theme", this.choice);
    this._apply();
  }

  _apply() {
    this._root.dataset.theme = this.choice === "auto" ? (this._system.matches ? "light" : "dark") : this.choice;
    this._changed();
  }
}
