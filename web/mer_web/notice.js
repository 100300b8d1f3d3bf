/** Messages about problems and their remedies: a stack above the page, each until it is dismissed, resolved or replaced. */

import { element, setText } from "./dom.js";
import { clean } from "./text.js";

/** Letters of the longest notice. */
const MAX_LETTERS = 600;
/** More at once would hide the page; the oldest goes. */
const MAX_NOTICES = 3;

export class NoticeBar {
  constructor() {
    this._stack = element("notice", HTMLElement);
    this._template = element("notice-template", HTMLTemplateElement);
    /** By topic, oldest first. @type {Map<string, HTMLElement>} */
    this._notices = new Map();
    // The page leaves this room below its end, so that the stack hides nothing for good.
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--notices", `${this._stack.offsetHeight}px`);
    }).observe(this._stack);
  }

  get shown() {
    return this._notices.size > 0;
  }

  /**
   * @param {string} text
   * @param {string} [topic] a message replaces the one of the same topic, and `clear` removes it
   */
  show(text, topic = "") {
    const line = clean(text, MAX_LETTERS);
    // The server may say the same as an error and as the reason of a close.
    for (const [name, { textContent }] of this._notices) {
      if (name !== topic && textContent?.trim() === line) this.clear(name);
    }
    let notice = this._notices.get(topic);
    if (!notice) {
      const copy = /** @type {DocumentFragment} */ (this._template.content.cloneNode(true));
      notice = /** @type {HTMLElement} */ (copy.firstElementChild);
      notice.querySelector("button")?.addEventListener("click", () => this._dismiss(topic));
      this._notices.set(topic, notice);
      if (this._notices.size > MAX_NOTICES) this.clear(this._notices.keys().next().value);
      this._stack.hidden = false;
      this._stack.prepend(notice);
    }
    // Screen readers announce what changes within an alert.
    setText(/** @type {HTMLElement} */ (notice.querySelector("p")), line);
  }

  /** @param {string} [topic] clears only the message of this topic; all if omitted */
  clear(topic) {
    for (const name of topic === undefined ? [...this._notices.keys()] : [topic]) {
      this._notices.get(name)?.remove();
      this._notices.delete(name);
    }
    this._stack.hidden = !this.shown;
  }

  /**
   * Keeps the keyboard's focus in the stack while it has another one.
   * @param {string} topic
   */
  _dismiss(topic) {
    this.clear(topic);
    this._stack.querySelector("button")?.focus();
  }
}
