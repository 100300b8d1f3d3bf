/**
 * Moves the timeline: wheel and two fingers zoom, dragging pans, the keyboard does both and reads moments. The canvas is
 * a slider over time, so that a screen reader tells the moment that the arrow keys choose.
 */

import { element, setText } from "./dom.js";
import { sentence } from "./moment.js";
import { STATES } from "./protocol.js";
import { clock } from "./text.js";
import { behindText } from "./time-window.js";

/** The states that each key of the legend explains. @type {Record<string, string[]>} */
const KEYS = {
  "key-silence": ["silence", "speech", "noise"], "key-settling": ["settling"], "key-stalled": ["stalled"],
};
/** Factor of the length for a notch of a wheel (100 pixels), and for a key. */
const NOTCH = 1.25;
/** CSS pixels that a pointer may move and still click. */
const SLACK = 5;
/** Share of the view by which an arrow key moves the moment. */
const ARROW = 1 / 60;
/** CSS pixels between a moment and its card. */
const CARD_GAP = 10;
/** Pixels in a line and in a page of a wheel that counts in these. */
const WHEEL_PIXELS = [1, 16, 400];

export class TimelineControls {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./timeline.js").Timeline} timeline
   * @param {import("./history.js").History} history
   */
  constructor(canvas, timeline, history) {
    this._canvas = canvas;
    this._timeline = timeline;
    this._history = history;
    this._toNow = element("to-now", HTMLButtonElement);
    this._behind = element("behind", HTMLElement);
    /** Pointers that are down: CSS pixels from the left of the canvas. @type {Map<number, number>} */
    this._down = new Map();
    this._isDragging = false;
    this._layout = "";
    this._card = element("moment", HTMLElement);
    this._told = "";
    this._addPointer();
    canvas.addEventListener("keydown", (event) => this._key(event));
    // What a finger or the keyboard chose is gone with the focus.
    canvas.addEventListener("blur", () => this._choose(NaN));
    canvas.addEventListener("focus", () => this._label());
    this._toNow.addEventListener("click", () => {
      // Not with the button, which is hidden now.
      if (document.activeElement === this._toNow) canvas.focus({ preventScroll: true });
      this.goLive();
    });
    for (const radio of this._radios) {
      radio.addEventListener("change", () => this.setLength(Number(radio.value)));
    }
  }

  /** @returns {HTMLInputElement[]} the buttons of fixed lengths */
  get _radios() {
    return /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("input[name=zoom]")]);
  }

  /** @param {number} seconds length of the view; Infinity for the whole history */
  setLength(seconds) {
    this._timeline.setZoom(seconds);
    this.tick();
  }

  goLive() {
    this._timeline.window.goLive();
    this._choose(NaN);
    this.tick();
  }

  /** Moves the card with the moment that was drawn last; it stays within the timeline. */
  draw() {
    const { told, view } = this._timeline;
    this._card.hidden = !told || !view;
    if (!told || !view) return;
    const words = sentence(told.text);
    if (words !== this._told) {
      this._told = words;
      const { title, mood, rows } = told.text;
      this._card.replaceChildren(...[[title], [mood], ...rows].map((parts) => {
        const line = document.createElement("p");
        line.append(...parts.map((part) => Object.assign(document.createElement("span"), { textContent: part })));
        return line;
      }));
    }
    const { offsetWidth, offsetHeight, parentElement } = this._card;
    const room = /** @type {HTMLElement} */ (parentElement);
    const at = view.left + told.x;
    const beside = at + CARD_GAP + offsetWidth < room.clientWidth ? at + CARD_GAP : at - CARD_GAP - offsetWidth;
    const x = Math.max(0, Math.min(room.clientWidth - offsetWidth, beside));
    const y = Math.max(0, Math.min(view.top + CARD_GAP / 2, room.clientHeight - offsetHeight));
    this._card.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }

  /** Updates the buttons and how far the view is from now. */
  tick() {
    const { window, view } = this._timeline;
    this._showLegend();
    for (const radio of this._radios) {
      radio.checked = Number(radio.value) === (window.all ? Infinity : window.seconds);
    }
    this._toNow.hidden = window.isLive;
    if (window.isLive || !view) return;
    setText(this._behind, `−${clock(window.behind)}`);
    const label = `Back to now: the view ends ${behindText(window.behind)}`;
    if (this._toNow.getAttribute("aria-label") !== label) this._toNow.setAttribute("aria-label", label);
    const layout = [view.left + view.width, view.top, view.height].join();
    if (layout === this._layout) return;
    this._layout = layout;
    // In the margin of the numbers, which are those of now.
    Object.assign(this._toNow.style, { left: `${view.left + view.width}px`, top: `${view.top}px`, height: `${view.height}px` });
  }

  /** Explains only what there is to see. */
  _showLegend() {
    const { window } = this._timeline;
    const { runs } = this._history;
    const seen = new Set();
    for (let r = runs.length - 1; r >= 0 && runs[r].end >= window.right - window.seconds; r -= 1) {
      if (runs[r].start <= window.right) seen.add(STATES[runs[r].state]);
    }
    for (const [key, states] of Object.entries(KEYS)) {
      const node = document.querySelector(`.${key}`);
      if (node instanceof HTMLElement) node.hidden = !states.some((state) => seen.has(state));
    }
  }

  /**
   * @param {MouseEvent} event
   * @returns {number} CSS pixels from the left of the canvas
   */
  _x(event) {
    return event.clientX - this._canvas.getBoundingClientRect().left;
  }

  /**
   * @param {number} x CSS pixels from the left of the canvas
   * @returns {number} share of the view, 0 to 1
   */
  _share(x) {
    const { view } = this._timeline;
    return view ? Math.max(0, Math.min(1, (x - view.left) / view.width)) : 1;
  }

  /** @returns {number} seconds in a CSS pixel */
  get _perPixel() {
    const { view, window } = this._timeline;
    return view ? window.seconds / view.width : 0;
  }

  _addPointer() {
    const canvas = this._canvas;
    // Flags and ticks lie over the canvas.
    /** @type {HTMLElement} */ (canvas.parentElement).addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      if (!this._down.size) this._isDragging = false;
      this._down.set(event.pointerId, this._x(event));
    });
    canvas.addEventListener("pointermove", (event) => this._move(event));
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(type, (event) => {
        if (!this._down.delete(event.pointerId) || this._down.size) return;
        canvas.classList.remove("dragged");
        if (type === "pointerup" && !this._isDragging && event.pointerType !== "mouse") {
          this._choose(this._timeline.timeAt(this._x(event)));
        }
      });
    }
    canvas.addEventListener("pointerleave", () => {
      this._timeline.pointer = -1;
    });
    canvas.addEventListener("dblclick", () => this.goLive());
  }

  /** @param {PointerEvent} event */
  _move(event) {
    const x = this._x(event);
    const from = this._down.get(event.pointerId);
    if (from === undefined) {
      if (event.pointerType === "mouse") this._timeline.pointer = x;
      return;
    }
    if (!this._isDragging && this._down.size === 1 && Math.abs(x - from) < SLACK) return;
    if (!this._isDragging) {
      this._isDragging = true;
      this._canvas.classList.add("dragged");
      this._timeline.pointer = -1;
      this._timeline.cursor = NaN;
    }
    this._canvas.setPointerCapture(event.pointerId);
    const { window } = this._timeline;
    const other = [...this._down].find(([id]) => id !== event.pointerId)?.[1];
    this._down.set(event.pointerId, x);
    if (other === undefined) {
      window.pan((from - x) * this._perPixel);
    } else {
      // What was in the middle of both fingers stays there.
      const apart = Math.abs(x - other);
      if (apart > SLACK) window.zoom(Math.abs(from - other) / apart, this._share((from + other) / 2));
      window.pan(((from - x) / 2) * this._perPixel);
    }
    this.tick();
  }

  /** @param {WheelEvent} event */
  _wheel(event) {
    const { window, view } = this._timeline;
    if (!view) return;
    const pixels = WHEEL_PIXELS[event.deltaMode] ?? 1;
    const [across, along] = event.shiftKey && !event.deltaX ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
    if (Math.abs(across) > Math.abs(along)) {
      window.pan(across * pixels * this._perPixel);
      event.preventDefault();
    } else {
      // Two fingers on a touchpad arrive as a wheel with Ctrl and small steps.
      const notches = (along * pixels) / (event.ctrlKey ? 20 : 100);
      const zoomed = window.zoom(NOTCH ** Math.max(-4, Math.min(4, notches)), this._share(this._x(event)));
      // At either end the page scrolls on, and never zooms itself.
      if (zoomed || event.ctrlKey) event.preventDefault();
    }
    this.tick();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { window, cursor } = this._timeline;
    const oldest = this._history.oldest;
    if (!Number.isFinite(oldest)) return;
    const at = Number.isNaN(cursor) ? window.right : cursor;
    const share = Number.isNaN(cursor) ? (window.isLive ? 1 : 0.5) : 1 - (window.right - cursor) / window.seconds;
    const step = Math.max(1, window.seconds * ARROW);
    const zoom = (/** @type {number} */ factor) => window.zoom(factor, Math.max(0, Math.min(1, share)));
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => this._choose(at - step),
      ArrowRight: () => this._choose(at + step),
      ArrowDown: () => this._choose(at - step),
      ArrowUp: () => this._choose(at + step),
      PageUp: () => this._choose(at + window.seconds / 2),
      PageDown: () => this._choose(at - window.seconds / 2),
      Home: () => this._choose(oldest),
      End: () => this.goLive(),
      Escape: () => this._choose(NaN),
      "+": () => zoom(1 / NOTCH),
      "=": () => zoom(1 / NOTCH),
      "-": () => zoom(NOTCH),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    this.tick();
    this._label();
  }

  /** @param {number} time the moment to read, in seconds; NaN for none */
  _choose(time) {
    const { window } = this._timeline;
    const newest = window.right + window.behind;
    this._timeline.cursor = Math.max(this._history.oldest, Math.min(newest, time));
    if (Number.isNaN(time)) this._timeline.cursor = NaN;
    else window.reveal(this._timeline.cursor);
  }

  /** Tells a screen reader the moment. */
  _label() {
    const { window, cursor } = this._timeline;
    const newest = window.right + window.behind;
    if (!Number.isFinite(newest) || !Number.isFinite(this._history.oldest)) return;
    const at = Number.isNaN(cursor) ? window.right : cursor;
    const told = this._timeline.tell(at, newest);
    const set = (/** @type {string} */ name, /** @type {string} */ value) => this._canvas.setAttribute(name, value);
    set("aria-valuemin", String(Math.floor(this._history.oldest - newest)));
    set("aria-valuemax", "0");
    set("aria-valuenow", String(Math.round(at - newest)));
    set("aria-valuetext", told ? sentence(told) : `${behindText(newest - at)}; nothing was heard`);
  }
}
