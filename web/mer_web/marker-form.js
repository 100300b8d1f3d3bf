/** The field in which people write a marker: a remark on the moment at which they opened it. */

import { element, setText } from "./dom.js";
import { controlMessage } from "./protocol.js";
import { clock } from "./text.js";

export class MarkerForm {
  /**
   * @param {(message: string) => boolean} send returns false while there is no connection
   * @param {() => number} now                  stream time of the newest estimate in seconds; NaN before it
   */
  constructor(send, now) {
    this._send = send;
    this._now = now;
    this._t = NaN;
    this._allowed = false;
    this._button = element("mark", HTMLButtonElement);
    this._form = element("marker-form", HTMLFormElement);
    this._field = element("marker", HTMLInputElement);
    this._moment = element("marker-moment", HTMLElement);
    this._hint = element("marker-hint", HTMLElement);
    this._about = "";
    this._button.addEventListener("click", () => this.toggle());
    element("marker-close", HTMLButtonElement).addEventListener("click", () => this.close());
    this._form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._submit();
    });
    this._form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.close();
    });
  }

  /**
   * @param {boolean} allowed  whether this page may mark the session that it shows
   * @param {string} about     what happens to a marker, a sentence
   */
  setAllowed(allowed, about) {
    this._allowed = allowed;
    this._about = about;
    this._button.hidden = !allowed;
    // A remark that is half written outlasts a lost connection.
    if (!allowed && !this._field.value) this.close();
    if (!this._form.hidden) setText(this._hint, about);
  }

  get isOpen() {
    return !this._form.hidden;
  }

  toggle() {
    if (!this._form.hidden) this.close();
    else if (this._allowed) this._open();
  }

  _open() {
    this._t = this._now();
    setText(this._moment, Number.isFinite(this._t) ? `Marker at ${clock(this._t)}` : "Marker");
    setText(this._hint, this._about);
    this._form.hidden = false;
    this._button.setAttribute("aria-expanded", "true");
    this._field.focus();
  }

  close() {
    if (this._form.hidden) return;
    const focused = this._form.contains(document.activeElement);
    this._form.hidden = true;
    this._field.value = "";
    this._button.setAttribute("aria-expanded", "false");
    if (focused && !this._button.hidden) this._button.focus();
  }

  _submit() {
    const text = this._field.value.trim();
    if (!text) return;
    const change = Number.isFinite(this._t) ? { marker: text, marker_t: this._t } : { marker: text };
    if (this._send(controlMessage(change))) this.close();
    else setText(this._hint, "There is no connection now. The text stays here: send it again when it is back.");
  }
}
