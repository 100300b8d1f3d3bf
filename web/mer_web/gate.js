/** The form of a server that asks for a token. Its field is the only place of the page that ever holds one. */

import { element, setText } from "./dom.js";
import { isPrivate } from "./destination.js";
import { clean } from "./text.js";

export class Gate {
  /** @param {(token: string) => void} onToken  called with what was entered */
  constructor(onToken) {
    this._section = element("gate", HTMLElement);
    this._field = element("token", HTMLInputElement);
    this._fault = element("gate-fault", HTMLElement);
    this._button = element("gate-connect", HTMLButtonElement);
    element("gate-open", HTMLElement).hidden = isPrivate(location);
    element("gate-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this._field.value.trim();
      if (!token) return;
      setText(this._fault, "");
      onToken(token);
    });
  }

  /** @param {string} reason why the last token was refused, a sentence; empty if there was none */
  show(reason) {
    const appears = this._section.hidden;
    this._section.hidden = false;
    setText(this._fault, clean(reason, 400));
    this._field.setAttribute("aria-invalid", String(reason !== ""));
    // Neither a reader of the help nor a keyboard user elsewhere is taken away.
    if (reason || (appears && document.activeElement === document.body)) {
      this._field.focus();
      this._field.select();
    }
  }

  /** @param {boolean} busy  whether a token is being tried */
  setBusy(busy) {
    this._button.disabled = busy;
  }

  hide() {
    this._field.blur();  // the browser would do it later; until then keys went into the hidden field
    this._section.hidden = true;
    this._field.value = "";
    setText(this._fault, "");
  }
}
