/** The estimate in words and numbers: mood, state, values, level, latency. Touches the page four times a second. */

import { element, mark, write } from "./dom.js";
import { brief, clean, latencyLine, signed } from "./text.js";

/** Numbers that change faster than this cannot be read. */
const LEAST_MS = 240;
/** Bottom of the level meter. */
const FLOOR_DB = -60;

/** @type {Record<string, string>} */
const STATES = {
  tracking: "tracking",
  settling: "settling: gathering music",
  silence: "silence: holding the last values",
  stalled: "stalled: no audio arrives",
};

/**
 * @param {number} level in dB
 * @returns {number} share of the meter, 0 to 1
 */
export function meterShare(level) {
  return Math.max(0, Math.min(1, 1 - level / FLOOR_DB));
}

/**
 * The transforms of a gauge over [-1, 1].
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {{needle: string, band: string}}
 */
export function gauge(value, low, high) {
  const percent = (/** @type {number} */ x) => (((x + 1) / 2) * 100).toFixed(2);
  return {
    needle: `translateX(calc(${percent(value)}% - 0.11rem))`,
    band: `translateX(${percent(low)}%) scaleX(${((high - low) / 2).toFixed(4)})`,
  };
}

/**
 * @param {import("./protocol.js").Fast} [fast]
 * @returns {string} the end of a sentence, for screen readers
 */
function spokenFast(fast) {
  if (!fast) return "";
  return `. The last ${brief(fast.window_s)} seconds alone: valence ${signed(fast.valence)}, `
    + `arousal ${signed(fast.arousal)}`;
}

export class Readout {
  constructor() {
    const span = (/** @type {string} */ id) => element(id, HTMLElement);
    this._now = /** @type {HTMLElement} */ (document.querySelector(".now"));
    this._badge = span("badge");
    this._nodes = {
      mood: span("mood"), state: span("state"), stateText: span("state-text"), level: span("level"),
      meter: span("meter"), fill: span("meter-fill"), latency: span("latency"),
      badgeMood: span("badge-mood"), badgeValence: span("badge-valence"), badgeArousal: span("badge-arousal"),
    };
    this._axes = /** @type {const} */ (["valence", "arousal"]).map((name) => ({
      name, number: span(name), within: span(`${name}-within`), band: span(`${name}-band`),
      needle: span(`${name}-needle`), quick: span(`${name}-quick`), quickSpan: span(`${name}-quick-span`),
      quickNumber: span(`${name}-quick-number`),
    }));
    this._plane = element("plane", HTMLCanvasElement);
    this._at = -Infinity;
    this._spokenAt = -Infinity;
    /** @type {import("./protocol.js").Estimate|null} */
    this._waiting = null;
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {import("./palette.js").Palette} palette
   * @param {number} now milliseconds
   */
  show(estimate, palette, now) {
    this._waiting = estimate;
    this.tick(palette, now);
  }

  /**
   * Writes what waits, where it is time.
   * @param {import("./palette.js").Palette} palette
   * @param {number} now milliseconds
   */
  tick(palette, now) {
    const estimate = this._waiting;
    if (!estimate || now - this._at < LEAST_MS) return;
    this._waiting = null;
    this._at = now;
    const nodes = this._nodes;
    write(nodes.mood, estimate.mood);
    const title = `${estimate.mood} · realtime-mer`;
    if (document.title !== title) document.title = title;
    write(nodes.stateText, STATES[estimate.state] ?? clean(estimate.state, 24));
    mark(nodes.state, "state", estimate.state);
    this._dim(estimate.state === "silence" || estimate.state === "stalled");
    this.colour(estimate, palette);
    for (const { name, number, within, band, needle } of this._axes) {
      const value = estimate[name];
      const [low, high] = [estimate[`${name}_low`], estimate[`${name}_high`]];
      write(number, signed(value));
      write(within, `${signed(low)} … ${signed(high)}`);
      const moved = gauge(value, low, high);
      needle.style.transform = moved.needle;
      band.style.transform = moved.band;
    }
    this._quick(estimate.fast);
    write(nodes.badgeMood, estimate.mood);
    write(nodes.badgeValence, signed(estimate.valence));
    write(nodes.badgeArousal, signed(estimate.arousal));
    this.level(estimate.level_db);
    const { latency } = estimate;
    write(nodes.latency, latencyLine(latency));
    nodes.latency.title = `The model looks back over ${brief(latency.window_s)} s of music. Buffer `
      + `${brief(latency.buffer_ms)} ms, compute ${brief(latency.compute_ms)} ms, queue ${brief(latency.queue_ms)} ms.`;
    if (now - this._spokenAt >= 1000) {
      this._spokenAt = now;
      nodes.meter.setAttribute("aria-valuenow", String(Math.round(Math.max(FLOOR_DB, estimate.level_db))));
      this._plane.setAttribute("aria-label", `Plane of valence and arousal. Now ${estimate.mood}: valence `
        + `${signed(estimate.valence)}, arousal ${signed(estimate.arousal)}${spokenFast(estimate.fast)}`);
    }
  }

  /** @param {import("./protocol.js").Fast} [fast] */
  _quick(fast) {
    for (const { name, quick, quickSpan, quickNumber } of this._axes) {
      quick.hidden = fast === undefined;
      if (!fast) continue;
      const seconds = brief(fast.window_s);
      write(quickSpan, `last ${seconds} s`);
      write(quickNumber, signed(fast[name]));
      quick.title = `The hollow point: what the last ${seconds} s alone say. Sooner at a change, and less sure: `
        + `${signed(fast[`${name}_low`])} … ${signed(fast[`${name}_high`])}.`;
    }
    const title = fast ? `Hollow point: the last ${brief(fast.window_s)} s alone` : "";
    if (this._plane.title !== title) this._plane.title = title;
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {import("./palette.js").Palette} palette
   */
  colour(estimate, palette) {
    const root = document.documentElement.style;
    root.setProperty("--mood", palette.ink(estimate.valence, estimate.arousal));
    root.setProperty("--place", palette.css(estimate.valence, estimate.arousal));
  }

  /** @param {number} coverage share of moments that an interval holds, as the model states it */
  coverage(coverage) {
    const text = `${Math.round(coverage * 100)}\u202f% within `;
    for (const node of document.querySelectorAll(".coverage")) write(node, text);
  }

  /** @param {number} level in dB */
  level(level) {
    this._nodes.fill.style.transform = `scaleX(${meterShare(level).toFixed(3)})`;
    write(this._nodes.level, level <= -100 ? "no signal" : `${signed(level, 0)} dB`);
  }

  /**
   * What is shown is not of now any more.
   * @param {string} text why
   */
  hold(text) {
    this._waiting = null;
    this._dim(true);
    write(this._nodes.stateText, text);
    mark(this._nodes.state, "state", "held");
  }

  /** @param {boolean} held */
  _dim(held) {
    this._now.classList.toggle("held", held);
    this._badge.classList.toggle("held", held);
  }

  /**
   * Nothing to show yet.
   * @param {string} text why
   */
  clear(text) {
    this._waiting = null;
    this._at = -Infinity;
    write(this._nodes.stateText, text);
    mark(this._nodes.state, "state", "waiting");
  }
}
