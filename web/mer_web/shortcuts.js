/** Single keys for those who run a show; off in fields and dialogs, and off altogether for those who dictate. */

import { recall, remember } from "./settings.js";

export class Shortcuts {
  /** @param {Record<string, () => void>} actions by key, lower case */
  constructor(actions) {
    this._actions = actions;
    this.enabled = recall("shortcuts") !== "off";
    document.addEventListener("keydown", (event) => this._key(event));
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    this.enabled = enabled;
    remember("shortcuts", enabled ? "on" : "off");
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (!this.enabled || event.defaultPrevented || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (document.querySelector("dialog[open]")) return;
    if (target.closest("input:not([type=radio], [type=checkbox], [type=file]), select, textarea")) return;
    // Space and Enter belong to the control that has the focus.
    if (event.key === " " && target.closest("button, input, a, summary")) return;
    const action = this._actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
