/**
 * Stage mode: the music's mood as a picture over the whole window, for a wall or a projector, run by single keys.
 *
 * Loaded only when it is entered. Turns what the page knows into moments for the scenes, chooses how finely they are
 * drawn by the time that it takes, and lets the picture be laid on a wall by its corners.
 */

import { Palette } from "./palette.js";
import { levelOf } from "./pulse.js";
import { loadPreference, savePreference } from "./settings.js";
import { WHOLE, areValid, cssTransform, parseCorners } from "./stage-corners.js";
import { Fineness } from "./stage-fineness.js";
import { PLAIN, Picture } from "./stage-picture.js";
import { isWebglQuick } from "./stage-shader.js";
import { shownValues } from "./value-range.js";

/** The scenes of the page, in the order of their keys. */
export const SCENES = ["aurora", "particles", "contours", "rings", PLAIN];

const CORNER_NAMES = ["top left", "top right", "bottom right", "bottom left"];

/** Seconds in which values and colour follow those of the music. */
const FOLLOW_S = 0.8;
/** The line of keys goes away so long after the last touch. */
const KEYS_MS = 6000;

/**
 * @typedef {object} App   what stage mode needs of the page
 * @property {import("./protocol.js").Estimate|null} newest
 * @property {import("./connection.js").Connection} connection
 * @property {import("./notice.js").NoticeBar} notice
 * @property {import("./pulse.js").PulseFeed} pulse
 * @property {boolean} isLive  whether estimates arrive
 * @property {() => void} toggleFullScreen
 */

/** Loads the style sheet of stage mode; done when it applies. */
async function loadStyle() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("stage.css", import.meta.url).href;
  await new Promise((resolve, reject) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => reject(new Error("stage.css did not arrive")));
    document.head.append(link);
  });
}

/** @returns {Promise<string[]>} names of the scenes that the operator of the server has added */
async function ownScenes() {
  try {
    const response = await fetch(new URL("scenes/index.json", import.meta.url));
    const { scenes } = await response.json();
    return scenes;
  } catch (error) {
    console.warn("the server does not tell its own scenes", error);
    return [];
  }
}

/**
 * Makes a stage, which is not entered yet.
 * @param {App} app
 */
export async function makeStage(app) {
  const [names] = await Promise.all([ownScenes(), loadStyle()]);
  return new Stage(app, [...SCENES, ...names]);
}

export class Stage {
  /**
   * @param {App} app
   * @param {string[]} names of the scenes
   */
  constructor(app, names) {
    this._app = app;
    this.names = names;
    this.root = document.createElement("div");
    this.root.className = "stage";
    this.root.tabIndex = -1;
    this.root.setAttribute("role", "application");
    this.root.setAttribute("aria-label", "Stage mode: a moving picture of the music. Escape leaves it, H lists the keys.");
    this._frame = document.createElement("div");
    this._frame.className = "stage-frame";
    this.canvas = document.createElement("canvas");
    this._frame.append(this.canvas);
    this.root.append(this._frame);
    this.active = false;
    this._palette = new Palette("dark");
    this._reduced = matchMedia("(prefers-reduced-motion: reduce)");
    const webgl = isWebglQuick();
    this._fineness = new Fineness(webgl);
    this._size();
    this.picture = new Picture(this.canvas, {
      webgl,
      reducedMotion: this._reduced.matches,
      palette: (valence, arousal) => this._palette.bytes(valence, arousal),
      load: (name) => import(new URL(`scenes/${name}.js`, import.meta.url).href),
    });
    this._last = NaN;
    this._values = { valence: 0, arousal: 0 };
    /** @type {import("./stage-picture.js").Color} */
    this._color = [0, 0, 0];
    this._follows = false;
    /** Whether a change of the music was told since the last frame. */
    this._change = false;
    this._corners = WHOLE;
    /** @type {HTMLButtonElement[]} */
    this._handles = [];
    /** @type {HTMLElement|null} */
    this._keys = null;
    this._keysTimer = 0;
    this._wasFull = false;
    /** Parts of the page below the stage. @type {HTMLElement[]} */
    this._covered = [];
    /** @type {WakeLockSentinel|null} */
    this._lock = null;
    this._request = 0;
    this._listeners = new AbortController();
  }

  /** @param {string} [scene] the name of one; the last one where there is no such scene */
  enter(scene = "") {
    if (this.active) return;
    this.active = true;
    document.documentElement.dataset.stage = "";
    this._covered = [...document.body.children].flatMap((part) => (part instanceof HTMLElement && !part.inert ? [part] : []));
    for (const part of this._covered) part.inert = true;
    document.body.append(this.root);
    this.root.focus();
    this._listen();
    this._corners = parseCorners(loadPreference(this._cornersName));
    this._resize();
    const wanted = [scene, loadPreference("stage-scene") ?? "", this._reduced.matches ? PLAIN : SCENES[0]];
    this.show(wanted.find((name) => this.names.includes(name)) ?? PLAIN);
    if (scene && !this.names.includes(scene)) {
      this.picture.trouble ||= `There is no scene ${scene}; there are: ${this.names.join(", ")}`;
    }
    this._wasFull = document.fullscreenElement !== null;
    void this._stayAwake();
    this._last = NaN;
    this._request = requestAnimationFrame((now) => this._draw(now));
  }

  leave() {
    if (!this.active) return;
    this.active = false;
    cancelAnimationFrame(this._request);
    this._listeners.abort();
    this._setCorners(false);
    this._hideKeys();
    this.root.remove();
    for (const part of this._covered) part.inert = false;
    delete document.documentElement.dataset.stage;
    this.picture.black = false;
    void this._lock?.release();
    this._lock = null;
    if (!this.picture.trouble) return;
    this._app.notice.show(`${this.picture.trouble}.`, "stage");
    this.picture.trouble = "";
  }

  /** @param {string} name of a scene */
  show(name) {
    savePreference("stage-scene", name);
    void this.picture.show(name);
    this._markKeys();
  }

  /** @param {number} by number of scenes forward */
  _next(by) {
    const at = Math.max(0, this.names.indexOf(this.picture.scene));
    this.show(this.names[(at + by + this.names.length) % this.names.length]);
  }

  _listen() {
    this._listeners = new AbortController();
    const options = { signal: this._listeners.signal, capture: true };
    addEventListener("keydown", (event) => this._key(event), options);
    addEventListener("resize", () => this._resize(), options);
    document.addEventListener("fullscreenchange", () => {
      const full = document.fullscreenElement !== null;
      // Browsers keep the Escape key that ends full screen to themselves.
      if (this._wasFull && !full) this.leave();
      this._wasFull = full;
    }, options);
    document.addEventListener("visibilitychange", () => void this._stayAwake(), options);
    this._reduced.addEventListener("change", () => {
      this.picture.reducedMotion = this._reduced.matches;
    }, options);
    this.root.addEventListener("pointerup", (event) => {
      // A finger has no keys: it gets the line of them.
      if (event.pointerType === "touch" && event.target === this.canvas) this._showKeys(KEYS_MS);
    }, options);
    const { connection } = this._app;
    connection.addEventListener("message", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.type === "event") this._change = true;
    }, options);
    // The page asks for a token: that cannot wait.
    connection.addEventListener("phase", () => {
      if (connection.phase.name === "locked") this.leave();
    }, options);
  }

  async _stayAwake() {
    if (document.visibilityState !== "visible" || !this.active) return;
    try {
      const lock = (await navigator.wakeLock?.request("screen")) ?? null;
      // The one of an earlier entry, or this one after leaving meanwhile, would keep the screen on for good.
      void (this.active ? this._lock : lock)?.release();
      if (this.active) this._lock = lock;
    } catch {
      // A low battery or the browser's settings: the screen may go off.
    }
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const onControl = event.target instanceof HTMLButtonElement;
    if (event.key === "Tab" || (onControl && (event.key === "Enter" || event.key === " "))) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    const key = event.key.toLowerCase();
    const handle = this._handles.indexOf(/** @type {any} */ (event.target));
    const steps = /** @type {Record<string, [number, number]>} */ (
      { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] })[key];
    if (steps && handle >= 0) {
      const pixels = event.shiftKey ? 10 : 1;
      const [x, y] = this._corners[handle];
      this._moveCorner(handle, x + (steps[0] * pixels) / innerWidth, y + (steps[1] * pixels) / innerHeight);
      return;
    }
    if (event.repeat) return;
    const number = Number(key);
    if (number >= 1 && number <= this.names.length) this.show(this.names[number - 1]);
    else if (key === "arrowright") this._next(1);
    else if (key === "arrowleft") this._next(-1);
    else if (key === "b") this.toggleBlack();
    else if (key === "f") this.toggleFullScreen();
    else if (key === "m") this._setCorners(!this._handles.length);
    else if (key === "r" && this._handles.length) this._putCorners(WHOLE);
    else if (key === "h" || key === "?") this._keys ? this._hideKeys() : this._showKeys();
    else if (key === "escape" && this._handles.length) this._setCorners(false);
    else if (key === "escape" && this._keys) this._hideKeys();
    else if (key === "escape" || key === "s") this.leave();
  }

  toggleBlack() {
    this.picture.black = !this.picture.black;
    this._markKeys();
  }

  toggleFullScreen() {
    // Leaving full screen by this key does not leave the stage.
    this._wasFull = false;
    this._app.toggleFullScreen();
  }

  /** @param {number} [forMs] for so long; until it is closed where omitted */
  _showKeys(forMs = 0) {
    clearTimeout(this._keysTimer);
    if (forMs) this._keysTimer = setTimeout(() => this._hideKeys(), forMs);
    if (this._keys) return;
    this._keys = document.createElement("div");
    this._keys.className = "stage-keys";
    this._keys.setAttribute("role", "toolbar");
    this._keys.setAttribute("aria-label", "Keys of stage mode");
    const add = (/** @type {string} */ key, /** @type {string} */ text, /** @type {() => void} */ run, name = "") => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.name = name;
      const cap = document.createElement("kbd");
      cap.textContent = key;
      button.append(cap, text);
      button.addEventListener("click", run);
      this._keys?.append(button);
    };
    this.names.forEach((name, k) => add(k < 9 ? String(k + 1) : "→", name, () => this.show(name), name));
    add("B", "black", () => this.toggleBlack(), "(black)");
    add("M", "corners", () => this._setCorners(!this._handles.length));
    if (document.fullscreenEnabled) add("F", "full screen", () => this.toggleFullScreen());
    add("Esc", "leave", () => this.leave());
    this.root.append(this._keys);
    this.root.style.cursor = "default";
    this._markKeys();
  }

  _markKeys() {
    for (const button of this._keys?.querySelectorAll("button") ?? []) {
      const { name } = button.dataset;
      if (name) button.setAttribute("aria-pressed", String(name === "(black)" ? this.picture.black : name === this.picture.scene));
    }
  }

  _hideKeys() {
    clearTimeout(this._keysTimer);
    this._keys?.remove();
    this._keys = null;
    this.root.style.cursor = "";
    if (this.active) this.root.focus();
  }

  /** Each screen has its corners: a projector is another one than the laptop's own. */
  get _cornersName() {
    return `stage-corners.${screen.width}x${screen.height}`;
  }

  /** @param {boolean} on whether the corners can be moved */
  _setCorners(on) {
    for (const handle of this._handles) handle.remove();
    this._handles = [];
    this.root.toggleAttribute("data-corners", on);
    if (!on) {
      if (this.active) this.root.focus();
      return;
    }
    this._handles = CORNER_NAMES.map((name, corner) => {
      const handle = document.createElement("button");
      handle.type = "button";
      handle.className = "stage-corner";
      handle.setAttribute("aria-label", `${name} corner: drag, or use the arrow keys; R resets all`);
      handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
      handle.addEventListener("pointermove", (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        this._moveCorner(corner, event.clientX / innerWidth, event.clientY / innerHeight);
      });
      this.root.append(handle);
      return handle;
    });
    this._putCorners(this._corners);
    this._handles[0].focus();
  }

  /**
   * @param {number} corner
   * @param {number} x share of the window
   * @param {number} y
   */
  _moveCorner(corner, x, y) {
    const limited = /** @type {import("./stage-corners.js").Point} */ ([x, y].map((part) => Math.max(0, Math.min(1, part))));
    const corners = /** @type {import("./stage-corners.js").Corners} */ (
      this._corners.map((point, k) => (k === corner ? limited : point)));
    if (areValid(corners)) this._putCorners(corners);
  }

  /** @param {import("./stage-corners.js").Corners} corners */
  _putCorners(corners) {
    this._corners = corners;
    savePreference(this._cornersName, String(corners));
    this._transform();
  }

  _transform() {
    this._frame.style.transform = cssTransform(this._corners, innerWidth, innerHeight);
    this._handles.forEach((handle, corner) => {
      handle.style.left = `${this._corners[corner][0] * 100}%`;
      handle.style.top = `${this._corners[corner][1] * 100}%`;
    });
  }

  _resize() {
    this._size();
    this._transform();
  }

  /** Gives the picture the size of the window, no finer than it can be drawn in time. */
  _size() {
    const height = Math.max(16, Math.min(this._fineness.height, Math.round(innerHeight * devicePixelRatio)));
    const width = Math.max(16, Math.round((height * innerWidth) / Math.max(1, innerHeight)));
    if (this.picture) this.picture.resize(width, height);
    else [this.canvas.width, this.canvas.height] = [width, height];
  }

  /** @param {number} now milliseconds */
  _draw(now) {
    this._request = requestAnimationFrame((next) => this._draw(next));
    const interval = now - this._last;
    this._last = now;
    const startedAt = performance.now();
    if (!this.picture.draw(this._moment(now, interval / 1000), now)) return;
    const { height } = this._fineness;
    const cost = performance.now() - startedAt;
    const most = Math.round(innerHeight * devicePixelRatio);
    if (!this._fineness.add(cost, interval, now, most, this.picture.webgl)) this.picture.leaveWebgl();
    if (this._fineness.height !== height) this._size();
  }

  /**
   * @param {number} now      milliseconds
   * @param {number} seconds  since the last moment; NaN for the first
   * @returns {import("./stage-picture.js").Moment}
   */
  _moment(now, seconds) {
    const { newest, pulse } = this._app;
    const known = newest && (newest.mood || newest.state === "tracking");
    const target = known ? shownValues(newest) : { valence: 0, arousal: -0.5 };
    const share = this._follows && Number.isFinite(seconds) ? 1 - Math.exp(-seconds / FOLLOW_S) : this._follows ? 0 : 1;
    this._follows = true;
    this._values.valence += (target.valence - this._values.valence) * share;
    this._values.arousal += (target.arousal - this._values.arousal) * share;
    const { valence, arousal } = this._values;
    const color = this._palette.bytes(valence, arousal);
    this._color = /** @type {import("./stage-picture.js").Color} */ (
      this._color.map((part, k) => part + (color[k] - part) * share));
    const sound = pulse.at(now);
    // Without pulses, what the estimates tell.
    const level = newest ? levelOf(newest.level_db) : 0;
    const change = this._change;
    this._change = false;
    return {
      time: now / 1000,
      valence,
      arousal,
      fast: newest?.fast ? shownValues(newest.fast) : null,
      level: sound.live ? sound.level : level,
      bands: sound.live ? sound.bands : sound.bands.map(() => 0.6 * level),
      onset: sound.live ? sound.onset : 0,
      color: /** @type {import("./stage-picture.js").Color} */ (this._color.map(Math.round)),
      mood: newest?.mood ?? "",
      state: this._app.isLive && newest ? newest.state : "lost",
      change,
    };
  }
}
