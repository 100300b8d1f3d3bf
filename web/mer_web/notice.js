/** A sentence about what went wrong and what to do, until it is dismissed, mended or replaced. */

import { element, write } from "./dom.js";

export class NoticeBar {
  constructor() {
    this._bar = element("notice", HTMLElement);
    this._text = element("notice-text", HTMLElement);
    this._topic = "";
    element("notice-close", HTMLButtonElement).addEventListener("click", () => this.clear());
  }

  get shown() {
    return !this._bar.hidden;
  }

  /**
   * @param {string} text
   * @param {string} [topic] lets `clear` take back this one and no other
   */
  show(text, topic = "") {
    this._topic = topic;
    write(this._text, text);
    this._bar.hidden = false;
  }

  /** @param {string} [topic] only a notice of this topic; any where left out */
  clear(topic) {
    if (topic !== undefined && topic !== this._topic) return;
    this._bar.hidden = true;
    write(this._text, "");
  }
}
