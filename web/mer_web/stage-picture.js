/**
 * The picture of stage mode: scenes drawn one over the other, drifting a little, dimmed while there is no music, black
 * when asked, and never flashing more than three times a second.
 *
 *     scenes -> mix (cross-fade, orbit, dimness) -> guard (a small copy) -> the shown canvas
 */

import { COLUMNS, COPY_ROWS, FlashGuard, POINTS, ROWS } from "./stage-guard.js";
import { flatContext } from "./stage-shader.js";

/**
 * @typedef {[number, number, number]} Color  sRGB bytes
 *
 * @typedef {object} Moment
 * @property {number} time      seconds since the start; it slows down while the picture is calm
 * @property {number} valence   as shown, -1 to 1, moving smoothly
 * @property {number} arousal
 * @property {{valence: number, arousal: number}|null} fast  of the last three seconds, where there are such
 * @property {number} level     of the sound now, 0 to 1 (-60 to 0 dB)
 * @property {ArrayLike<number>} bands  six, each 0 to 1, from low to high
 * @property {number} onset     1 at an onset, falling to 0 within a quarter of a second
 * @property {Color} color      of this mood
 * @property {string} mood      its word, empty before any music
 * @property {string} state     of the estimate (tracking, settling, silence, speech, noise, stalled), or lost
 * @property {boolean} change   whether a change of the music has just been told
 *
 * @typedef {object} Means      what a scene is made with
 * @property {HTMLCanvasElement} canvas   it draws here, with a context of its choice
 * @property {boolean} webgl              whether WebGL2 is quick enough here
 * @property {boolean} reducedMotion      whether the viewer asks for little motion
 * @property {(valence: number, arousal: number) => Color} palette  the colour of any mood
 *
 * @typedef {object} Scene
 * @property {(width: number, height: number) => void} [resize]  the canvas has this size now, in its pixels
 * @property {(moment: Moment, seconds: number) => void} draw    draws a frame, so long after the last one
 * @property {() => void} [dispose]
 *
 * @typedef {{label: string, create: (means: Means) => Scene}} SceneModule
 *
 * @typedef {object} Layer
 * @property {string} name
 * @property {HTMLCanvasElement} canvas
 * @property {Scene} scene
 * @property {number} opacity
 */

/** The scene that takes over where another one fails. */
export const PLAIN = "plain";

/** States with music; in all others the picture calms down. */
const MUSIC_STATES = ["tracking", "settling"];

const FADE_S = 2;
const BLACK_S = 0.3;
/** Time constant of calming down and of waking up. */
const CALM_S = 1.5;
/** What is left in the calm state. */
const CALM_BRIGHTNESS = 0.35;
const CALM_PACE = 0.25;
/** The level of the sound that is drawn then: without any, the wall would be black. */
const CALM_LEVEL = 0.4;
const REDUCED_PACE = 0.1;
/** Time constant of the level where little motion is wanted. */
const REDUCED_LEVEL_S = 2;
/** Share of the size by which the picture is larger than the canvas, so that it can move: it never burns in. */
const ORBIT = 0.015;
const ORBIT_PERIODS_S = [97, 61];
/** A longer frame is one after a pause. */
const MAX_FRAME_S = 0.1;

/**
 * @param {number} width
 * @param {number} height
 */
function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

export class Picture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} means
   * @param {boolean} means.webgl
   * @param {boolean} means.reducedMotion
   * @param {Means["palette"]} means.palette
   * @param {(name: string) => Promise<SceneModule>} means.load  the module of a scene
   */
  constructor(canvas, { webgl, reducedMotion, palette, load }) {
    this.webgl = webgl;
    this.reducedMotion = reducedMotion;
    this._palette = palette;
    this._load = load;
    this._shown = flatContext(canvas, webgl);
    this._mix = flatContext(newCanvas(canvas.width, canvas.height), webgl);
    this._points = flatContext(newCanvas(COLUMNS * POINTS, ROWS * POINTS), webgl);
    this._points.imageSmoothingQuality = "medium";
    this._small = flatContext(newCanvas(COLUMNS, COPY_ROWS), webgl);
    this._small.imageSmoothingQuality = "medium";
    this._guard = new FlashGuard();
    /** From the lowest to the highest, which all but the highest are fading away below. @type {Layer[]} */
    this._layers = [];
    this._wanted = "";
    /** Whether the operator wants darkness. */
    this.black = false;
    this._light = 1;
    this._presence = 0;
    this._level = 0;
    this._time = 0;
    this._orbit = 0;
    this._last = NaN;
    /** What went wrong with a scene, empty if nothing. */
    this.trouble = "";
  }

  /** The scene that is shown or coming. */
  get scene() {
    return this._wanted;
  }

  /**
   * Loads a scene and fades it in.
   * @param {string} name
   */
  async show(name) {
    if (name === this._wanted) return;
    this._wanted = name;
    try {
      const module = await this._load(name);
      if (name === this._wanted && this._layers.at(-1)?.name !== name) this._add(name, module);
    } catch (error) {
      if (name === this._wanted) this._fail(name, error);
    }
  }

  /** Draws without WebGL2 from now on: the scene of the moment begins again. */
  leaveWebgl() {
    if (!this.webgl) return;
    this.webgl = false;
    for (const layer of this._layers) this._remove(layer);
    const name = this._wanted;
    this._wanted = "";
    void this.show(name);
  }

  /**
   * @param {string} name
   * @param {SceneModule} module
   */
  _add(name, module) {
    const { width, height } = this._mix.canvas;
    const canvas = newCanvas(width, height);
    const { webgl, reducedMotion } = this;
    const scene = module.create({ canvas, webgl, reducedMotion, palette: this._palette });
    const layer = { name, canvas, scene, opacity: this._layers.length ? 0 : 1 };
    canvas.addEventListener("webglcontextlost", () => {
      // The graphics processor is gone, or has other work.
      if (this._layers.includes(layer)) this.leaveWebgl();
    });
    scene.resize?.(width, height);
    this._layers.push(layer);
    // Scenes changed in haste: what was shown least goes, so that the picture does not go dark.
    if (this._layers.length > 3) this._remove(this._layers[2]);
  }

  /**
   * @param {string} name of the scene
   * @param {unknown} error
   */
  _fail(name, error) {
    this.trouble = `The scene ${name} failed: ${error instanceof Error ? error.message : String(error)}`;
    console.warn(this.trouble, error);
    for (const layer of this._layers.filter((other) => other.name === name)) this._remove(layer);
    if (name !== this._wanted) return;
    // Without a connection, the plain colour may not arrive either: what is shown stays, and can be asked for again.
    if (name === PLAIN) this._wanted = this._layers.at(-1)?.name ?? "";
    else void this.show(PLAIN);
  }

  /** @param {Layer} layer */
  _remove(layer) {
    this._layers = this._layers.filter((other) => other !== layer);
    try {
      layer.scene.dispose?.();
    } catch (error) {
      console.warn(`the scene ${layer.name} could not be disposed of`, error);
    }
    // Browsers keep few of these contexts.
    layer.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /**
   * @param {number} width   in pixels of the canvas
   * @param {number} height
   */
  resize(width, height) {
    const { canvas } = this._shown;
    if (canvas.width === width && canvas.height === height) return;
    this._mix.canvas.width = width;
    this._mix.canvas.height = height;
    this._mix.drawImage(canvas, 0, 0, width, height);
    canvas.width = width;
    canvas.height = height;
    this._shown.drawImage(this._mix.canvas, 0, 0);
    for (const layer of this._layers) {
      layer.canvas.width = width;
      layer.canvas.height = height;
      try {
        layer.scene.resize?.(width, height);
      } catch (error) {
        this._fail(layer.name, error);
      }
    }
  }

  /**
   * Draws the next frame.
   * @param {Moment} moment  now; its time is that of the caller's clock and not used
   * @param {number} now     milliseconds
   * @returns {boolean} whether scenes were drawn
   */
  draw(moment, now) {
    const elapsed = Number.isFinite(this._last) ? Math.max(0, Math.min(MAX_FRAME_S, (now - this._last) / 1000)) : 0;
    this._last = now;
    this._orbit += elapsed;
    if (this.black) {
      this._darken(elapsed, now);
      return false;
    }
    // While a scene is loaded in the place of one that could not go on, what is shown stays.
    if (!this._layers.length) return false;
    this._light = Math.min(1, this._light + elapsed / BLACK_S);
    this._drawScenes(this._adapt(moment, elapsed), elapsed);
    this._compose(elapsed);
    const part = this._guard.admit(this._copy(), now);
    if (part > 0) {
      this._shown.globalAlpha = part;
      this._shown.drawImage(this._mix.canvas, 0, 0);
      this._shown.globalAlpha = 1;
    }
    return true;
  }

  /** @returns {Uint8ClampedArray} the copy of the mix for the guard */
  _copy() {
    this._points.drawImage(this._mix.canvas, 0, 0, COLUMNS * POINTS, ROWS * POINTS);
    this._small.imageSmoothingEnabled = true;
    this._small.drawImage(this._points.canvas, 0, 0, COLUMNS, ROWS);
    this._small.imageSmoothingEnabled = false;
    this._small.drawImage(this._points.canvas, 0, ROWS, COLUMNS, ROWS);
    return this._small.getImageData(0, 0, COLUMNS, COPY_ROWS).data;
  }

  /**
   * @param {number} elapsed seconds
   * @param {number} now     milliseconds
   */
  _darken(elapsed, now) {
    if (this._light === 0) return;
    const light = Math.max(0, this._light - elapsed / BLACK_S);
    const part = 1 - light / this._light;
    this._light = light;
    const { canvas } = this._shown;
    this._shown.globalAlpha = part;
    this._shown.fillStyle = "#000";
    this._shown.fillRect(0, 0, canvas.width, canvas.height);
    this._shown.globalAlpha = 1;
    this._guard.darken(part, now);
  }

  /**
   * @param {Moment} moment
   * @param {number} elapsed seconds
   * @returns {Moment} what the scenes draw: calm without music, and with little motion where that is wanted
   */
  _adapt(moment, elapsed) {
    const target = MUSIC_STATES.includes(moment.state) ? 1 : 0;
    this._presence += (target - this._presence) * (1 - Math.exp(-elapsed / CALM_S));
    const presence = this._presence;
    const calm = (/** @type {number} */ part) => CALM_LEVEL + (part - CALM_LEVEL) * presence;
    const level = calm(moment.level);
    this._level += (level - this._level) * (this.reducedMotion ? 1 - Math.exp(-elapsed / REDUCED_LEVEL_S) : 1);
    this._time += elapsed * this._pace;
    return {
      ...moment,
      time: this._time,
      level: this._level,
      bands: Array.from(moment.bands, (band) => (this.reducedMotion ? this._level : calm(band))),
      onset: this.reducedMotion ? 0 : moment.onset * presence,
      change: moment.change && !this.reducedMotion,
    };
  }

  get _pace() {
    return (this.reducedMotion ? REDUCED_PACE : 1) * (CALM_PACE + (1 - CALM_PACE) * this._presence);
  }

  /**
   * @param {Moment} moment
   * @param {number} elapsed seconds
   */
  _drawScenes(moment, elapsed) {
    for (const layer of this._layers) {
      try {
        layer.scene.draw(moment, elapsed * this._pace);
      } catch (error) {
        this._fail(layer.name, error);
      }
    }
  }

  /** @param {number} elapsed seconds */
  _compose(elapsed) {
    const mix = this._mix;
    const { width, height } = mix.canvas;
    const angle = (/** @type {number} */ period) => (this._orbit * 2 * Math.PI) / period;
    const x = ORBIT * width * (Math.sin(angle(ORBIT_PERIODS_S[0])) - 1);
    const y = ORBIT * height * (Math.sin(angle(ORBIT_PERIODS_S[1])) - 1);
    mix.globalAlpha = 1;
    mix.fillStyle = "#000";
    mix.fillRect(0, 0, width, height);
    const top = this._layers[this._layers.length - 1];
    for (const layer of this._layers) {
      if (layer === top) layer.opacity = Math.min(1, layer.opacity + elapsed / FADE_S);
      const { opacity } = layer;
      mix.globalAlpha = opacity * opacity * (3 - 2 * opacity);
      mix.drawImage(layer.canvas, x, y, width * (1 + 2 * ORBIT), height * (1 + 2 * ORBIT));
    }
    if (top?.opacity === 1) for (const layer of this._layers.slice(0, -1)) this._remove(layer);
    const brightness = this._light * (CALM_BRIGHTNESS + (1 - CALM_BRIGHTNESS) * this._presence);
    mix.globalAlpha = 1 - brightness;
    mix.fillRect(0, 0, width, height);
  }

  dispose() {
    this._wanted = "";
    for (const layer of this._layers) this._remove(layer);
  }
}
