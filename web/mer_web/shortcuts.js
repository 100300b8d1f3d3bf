/** Single-key shortcuts. Inactive in text fields and dialogs; can be disabled, for users of dictation. */

import { loadPreference, savePreference } from "./settings.js";

export class Shortcuts {
  /** @param {Record<string, () => void>} actions by key, lower case */
  constructor(actions) {
    this._actions = actions;
    this.enabled = loadPreference("shortcuts") !== "off";
    document.addEventListener("keydown", (event) => this._key(event));
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    this.enabled = enabled;
    savePreference("shortcuts", enabled ? "on" : "off");
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (!this.enabled || event.defaultPrevented || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (document.querySelector("dialog[open]")) return;
    if (target.closest("input:not([type=radio], [type=checkbox], [type=file]), select, textarea")) return;
    // Space belongs to the focused control.
    if (event.key === " " && target.closest("button, input, a, summary")) return;
    const action = this._actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
