/**
 * The flags of markers and the ticks of changes over the timeline. Each is a button, so that pointer, finger and keyboard
 * reach its text: one stop of the Tab key for all, arrow keys from one to the next.
 */

import { element, setData, setText } from "./dom.js";
import { told } from "./remarks.js";

/** Least distance of two flags of a kind, in CSS pixels; closer ones are one flag. */
const APART = { marker: 22, change: 14 };
const KINDS = /** @type {const} */ (["marker", "change"]);
/** Between a text and the edges, in CSS pixels. */
const MARGIN = 8;

/** @typedef {import("./remarks.js").Group} Group */
/** @typedef {{button: HTMLButtonElement, group: Group, x: number}} Flag  `x` in CSS pixels */

export class RemarkFlags {
  /**
   * @param {import("./remarks.js").Remarks} remarks
   * @param {import("./timeline.js").Timeline} timeline
   */
  constructor(remarks, timeline) {
    this._remarks = remarks;
    this._timeline = timeline;
    this._layer = element("remarks", HTMLElement);
    this._bubble = element("remark-text", HTMLElement);
    /** @type {{marker: Group[], change: Group[]}} */
    this._groups = { marker: [], change: [] };
    this._built = "";
    this._layout = "";
    /** @type {Map<string, Flag>} */
    this._flags = new Map();
    /** The flag whose text is shown. @type {HTMLButtonElement|null} */
    this._shown = null;
    /** By how much its text is above its usual place, in CSS pixels. */
    this._lift = 0;
    this._layer.addEventListener("keydown", (event) => this._key(event));
  }

  /** Moves the flags to where the timeline was drawn last. */
  draw() {
    const view = this._timeline.view;
    if (!view) return;
    this._measure(view);
    const perPixel = view.perColumn * view.ratio;
    const built = `${this._remarks.stamp}|${perPixel}`;
    if (built !== this._built) {
      this._built = built;
      for (const kind of KINDS) this._groups[kind] = this._remarks.groups(kind, APART[kind] * perPixel);
    }
    const seen = new Set();
    for (const kind of KINDS) {
      // In order of time, in which screen readers tell them.
      for (const group of this._groups[kind]) {
        const x = (group.time / view.perColumn - view.first) / view.ratio;
        if (x >= 0 && x <= view.width) seen.add(this._show(kind, group, x));
      }
    }
    for (const [key, { button }] of this._flags) {
      if (seen.has(key)) continue;
      this._flags.delete(key);
      this._remove(button);
    }
    if (this._shown) this._placeBubble(view.width);
  }

  /**
   * @param {"marker"|"change"} kind
   * @param {Group} group
   * @param {number} x CSS pixels
   * @returns {string} the key of its flag
   */
  _show(kind, group, x) {
    const key = `${kind}|${group.time}`;
    let flag = this._flags.get(key);
    if (!flag) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "remark";
      button.dataset.kind = kind;
      button.tabIndex = -1;
      for (const type of ["pointerenter", "focus", "click"]) button.addEventListener(type, () => this._open(button));
      for (const type of ["pointerleave", "blur"]) {
        button.addEventListener(type, (event) => {
          // A finger leaves when it lifts: its text stays until another is touched.
          const lifted = event instanceof PointerEvent && event.pointerType === "touch";
          if (!lifted && document.activeElement !== button) this._close(button);
        });
      }
      flag = { button, group, x: NaN };
      this._flags.set(key, flag);
      this._layer.append(button);
      if (!this._layer.querySelector("[tabindex='0']")) button.tabIndex = 0;
    }
    const label = labelOf(kind, group);
    if (flag.button.getAttribute("aria-label") !== label) flag.button.setAttribute("aria-label", label);
    flag.group = group;
    setData(flag.button, "many", group.remarks.length > 1 ? "yes" : "no");
    if (flag.x !== x) {
      flag.x = x;
      flag.button.style.transform = `translateX(${x.toFixed(2)}px)`;
    }
    return key;
  }

  /** @param {HTMLButtonElement} button of a flag that left the view */
  _remove(button) {
    const focused = document.activeElement === button;
    const wasStop = button.tabIndex === 0;
    if (this._shown === button) this._close(button);
    button.remove();
    if (!wasStop) return;
    const next = this._ordered()[0];
    if (!next) return;
    next.tabIndex = 0;
    if (focused) next.focus();
  }

  /** @returns {HTMLButtonElement[]} the flags in order of time */
  _ordered() {
    return [...this._flags.values()].sort((a, b) => a.x - b.x).map(({ button }) => button);
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.key === "Escape" && this._shown) {
      event.preventDefault();
      this._close(this._shown);
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !(event.target instanceof HTMLButtonElement)) return;
    event.preventDefault();
    const ordered = this._ordered();
    const next = ordered[ordered.indexOf(event.target) + step];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  /** @param {HTMLButtonElement} button */
  _open(button) {
    const flag = [...this._flags.values()].find((each) => each.button === button);
    if (!flag) return;
    this._shown = button;
    const { told: first, rest } = told(flag.group);
    const lines = first.map((remark) => {
      const line = document.createElement("p");
      const time = document.createElement("time");
      time.dateTime = remark.utc;
      setText(time, new Date(remark.utc).toLocaleTimeString());
      line.append(time, ` ${remark.text}`);
      return line;
    });
    if (rest) lines.push(Object.assign(document.createElement("p"), { textContent: rest }));
    this._bubble.replaceChildren(...lines);
    this._bubble.style.transform = "";
    this._bubble.hidden = false;
    // A long text does not reach below the screen, where nobody can scroll to it.
    const { top, bottom } = this._bubble.getBoundingClientRect();
    this._lift = Math.max(0, Math.min(top, bottom + MARGIN - innerHeight));
    this._placeBubble(this._timeline.view?.width ?? 0);
  }

  /** @param {HTMLButtonElement} button */
  _close(button) {
    if (this._shown !== button) return;
    this._shown = null;
    this._bubble.hidden = true;
  }

  /** @param {number} width of the plot in CSS pixels */
  _placeBubble(width) {
    const flag = [...this._flags.values()].find((each) => each.button === this._shown);
    if (!flag) return;
    const half = this._bubble.offsetWidth / 2;
    const x = Math.max(half + MARGIN, Math.min(width - half - MARGIN, flag.x));
    this._bubble.style.transform = `translate(calc(${x.toFixed(2)}px - 50%), ${-this._lift}px)`;
  }

  /** @param {import("./timeline.js").TimelineView} view */
  _measure({ left, top, width, height, gapTop, gap }) {
    const layout = [left, top, width, height, gapTop, gap].join();
    if (layout === this._layout) return;
    this._layout = layout;
    const { style } = this._layer;
    style.left = `${left}px`;
    style.top = `${top}px`;
    style.width = `${width}px`;
    style.setProperty("--tall", `${height}px`);
    style.setProperty("--gap-top", `${gapTop}px`);
    style.setProperty("--gap-tall", `${gap}px`);
  }
}

/**
 * @param {"marker"|"change"} kind
 * @param {Group} group
 * @returns {string} for screen readers
 */
function labelOf(kind, group) {
  const { told: first, rest } = told(group);
  const words = first.map((remark) => `${remark.text}, ${new Date(remark.utc).toLocaleTimeString()}`);
  const count = group.remarks.length;
  const noun = kind === "marker" ? "Marker" : "Change";
  return `${count > 1 ? `${count} ${noun.toLowerCase()}s` : noun}: ${[...words, rest].filter(Boolean).join("; ")}`;
}
