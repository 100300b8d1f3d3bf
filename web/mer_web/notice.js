/** A message about a problem and its remedy, until it is dismissed, resolved or replaced. */

import { element, setText } from "./dom.js";
import { clean } from "./text.js";

/** Letters of the longest notice. */
const MAX_LETTERS = 600;

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
   * @param {string} [topic] lets `clear` remove this message and no other
   */
  show(text, topic = "") {
    this._topic = topic;
    setText(this._text, clean(text, MAX_LETTERS));
    this._bar.hidden = false;
  }

  /** @param {string} [topic] clears only a message of this topic; any if omitted */
  clear(topic) {
    if (topic !== undefined && topic !== this._topic) return;
    this._bar.hidden = true;
    setText(this._text, "");
  }
}
