/** The estimate as text: mood or state, values, level, latency. Updates the page at most four times a second. */

import { element, setData, setText } from "./dom.js";
import { Dwell, frozenHeadline, headlineOf, waitingHeadline } from "./headline.js";
import { setMoodVariables } from "./mood-variables.js";
import { repeats } from "./protocol.js";
import { brief, latencyLine, signed } from "./text.js";
import { shownValues } from "./value-range.js";

/** Numbers that change faster than this are unreadable. */
const MIN_INTERVAL_MS = 250;
/** Bottom of the level meter. */
const MIN_LEVEL_DB = -60;

/**
 * @param {number} level in dB
 * @returns {number} share of the meter, 0 to 1
 */
export function meterShare(level) {
  return Math.max(0, Math.min(1, 1 - level / MIN_LEVEL_DB));
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
 * @returns {string} the end of a sentence for screen readers
 */
function fastLabel(fast) {
  if (!fast) return "";
  const { valence, arousal } = shownValues(fast);
  return `. The last ${brief(fast.window_s)} seconds alone: valence ${signed(valence)}, `
    + `arousal ${signed(arousal)}`;
}

/**
 * @param {import("./protocol.js").Estimate} estimate
 * @param {"valence"|"arousal"} axis
 * @returns {string} which value is shown, and the other one; empty where there is only one
 */
function rangeHint(estimate, axis) {
  if (!estimate.scaled) return "";
  const isRaw = shownValues(estimate) !== estimate.scaled;
  const other = isRaw ? estimate.scaled : estimate;
  const [shown, named] = isRaw ? ["The model's own value", "Its place among music"]
    : ["The place among music", "The model's own value"];
  return `${shown}. ${named}: ${signed(other[axis])}, within ${signed(other[`${axis}_low`])} … ${signed(other[`${axis}_high`])}`;
}

export class ValueDisplay {
  constructor() {
    const span = (/** @type {string} */ id) => element(id, HTMLElement);
    this._now = /** @type {HTMLElement} */ (document.querySelector(".now"));
    this._nodes = {
      mood: span("mood"), state: span("state"), stateText: span("state-text"), level: span("level"),
      meter: span("meter"), fill: span("meter-fill"), latency: span("latency"),
    };
    this._axes = /** @type {const} */ (["valence", "arousal"]).map((name) => ({
      name, number: span(name), within: span(`${name}-within`), band: span(`${name}-band`),
      needle: span(`${name}-needle`), fastRow: span(`${name}-fast`), fastSpan: span(`${name}-fast-span`),
      fastNumber: span(`${name}-fast-number`),
    }));
    this._plane = element("plane", HTMLCanvasElement);
    this._shownAt = -Infinity;
    this._labelledAt = -Infinity;
    /** @type {import("./protocol.js").Estimate|null} */
    this._pending = null;
    /** The estimate whose numbers are on the page. @type {import("./protocol.js").Estimate|null} */
    this.shown = null;
    this._dwell = new Dwell();
    /** What is shown. */
    this.headline = waitingHeadline("music");
    /** The newest estimate whose values are shown. @type {import("./protocol.js").Estimate|null} */
    this._estimate = null;
    /** The last mood that was heard. */
    this._lastMood = "";
    /** The reason of a stall. @type {import("./headline.js").Stall} */
    this.stall = "audio";
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {import("./palette.js").Palette} palette
   * @param {number} now milliseconds
   */
  show(estimate, palette, now) {
    this._pending = estimate;
    this.tick(palette, now);
  }

  /**
   * Shows the pending estimate, if enough time has passed.
   * @param {import("./palette.js").Palette} palette
   * @param {number} now milliseconds
   */
  tick(palette, now) {
    const estimate = this._pending;
    if (!estimate) {
      // A word that waited for the end of another one's time.
      if (this._estimate) this._offer(this._estimate, now);
      return;
    }
    if (now - this._shownAt < MIN_INTERVAL_MS) return;
    this._pending = null;
    this._shownAt = now;
    this.shown = this._estimate = estimate;
    const nodes = this._nodes;
    this._offer(estimate, now);
    this._setFrozen(repeats(estimate.state));
    this.colour(estimate, palette);
    const shown = shownValues(estimate);
    for (const { name, number, within, band, needle } of this._axes) {
      const value = shown[name];
      const [low, high] = [shown[`${name}_low`], shown[`${name}_high`]];
      setText(number, signed(value));
      const hint = rangeHint(estimate, name);
      if (number.title !== hint) number.title = hint;
      setText(within, `${signed(low)} … ${signed(high)}`);
      const moved = gauge(value, low, high);
      needle.style.transform = moved.needle;
      band.style.transform = moved.band;
    }
    this._showFast(estimate.fast);
    this.level(estimate.level_db);
    const { latency } = estimate;
    setText(nodes.latency, latencyLine(latency));
    nodes.latency.title = `The model looks back over ${brief(latency.window_s)} s of music. Buffer `
      + `${brief(latency.buffer_ms)} ms, compute ${brief(latency.compute_ms)} ms, queue ${brief(latency.queue_ms)} ms.`;
    if (now - this._labelledAt >= 1000) {
      this._labelledAt = now;
      nodes.meter.setAttribute("aria-valuenow", String(Math.round(Math.max(MIN_LEVEL_DB, estimate.level_db))));
      const mood = this.headline.isMood ? this.headline.word : estimate.mood || "no mood yet";
      this._plane.setAttribute("aria-label", `Plane of valence and arousal. Now ${mood}: valence `
        + `${signed(shown.valence)}, arousal ${signed(shown.arousal)}${fastLabel(estimate.fast)}`);
    }
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {number} now milliseconds
   */
  _offer(estimate, now) {
    if (estimate.mood && !repeats(estimate.state)) this._lastMood = estimate.mood;
    this._headline(this._dwell.offer(headlineOf(estimate, this.stall, this._lastMood), now));
  }

  /** The estimate shown is a past one: the next may change the word at once. */
  release() {
    this._dwell.release();
  }

  /** @param {import("./headline.js").Headline} headline */
  _headline(headline) {
    this.headline = headline;
    const { word, line, state, isMood } = headline;
    const nodes = this._nodes;
    setText(nodes.mood, word);
    setData(nodes.mood, "kind", isMood ? "mood" : "state");
    setText(nodes.stateText, line);
    if (nodes.stateText.title !== line) nodes.stateText.title = line;
    setData(nodes.state, "state", state);
    const title = `${word} · realtime-mer`;
    if (document.title !== title) document.title = title;
  }

  /** @param {import("./protocol.js").Fast} [fast] */
  _showFast(fast) {
    for (const { name, fastRow, fastSpan, fastNumber } of this._axes) {
      fastRow.hidden = fast === undefined;
      if (!fast) continue;
      const seconds = brief(fast.window_s);
      const shown = shownValues(fast);
      setText(fastSpan, `last ${seconds} s`);
      setText(fastNumber, signed(shown[name]));
      fastRow.title = `The hollow point: the estimate from the last ${seconds} s alone. Faster at a change, and less certain: `
        + `${signed(shown[`${name}_low`])} … ${signed(shown[`${name}_high`])}.`;
    }
    const title = fast ? `Hollow point: the last ${brief(fast.window_s)} s alone` : "";
    if (this._plane.title !== title) this._plane.title = title;
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate
   * @param {import("./palette.js").Palette} palette
   */
  colour(estimate, palette) {
    setMoodVariables(document.documentElement.style, estimate, palette);
  }

  /** @param {number} coverage share of moments whose true value lies in the interval, 0 to 1 */
  coverage(coverage) {
    const text = `${Math.round(coverage * 100)}\u202f% within `;
    for (const node of document.querySelectorAll(".coverage")) setText(node, text);
  }

  /** @param {number} level in dB */
  level(level) {
    this._nodes.fill.style.transform = `scaleX(${meterShare(level).toFixed(3)})`;
    setText(this._nodes.level, level <= -100 ? "no signal" : `${signed(level, 0)} dB`);
  }

  /**
   * Says why the values shown are no longer current, until the next estimate.
   * @param {import("./headline.js").Cause} cause
   */
  freeze(cause) {
    this._pending = this._estimate = null;
    this._setFrozen(true);
    this._headline(this._dwell.set(frozenHeadline(cause, this._lastMood)));
  }

  /** @param {boolean} frozen */
  _setFrozen(frozen) {
    this._now.classList.toggle("frozen", frozen);
  }

  /**
   * Shows that there is no estimate yet.
   * @param {"music"|"choice"} what  is waited for
   */
  clear(what) {
    this._pending = this._estimate = this.shown = null;
    this._shownAt = -Infinity;
    this._lastMood = "";
    this._headline(this._dwell.set(waitingHeadline(what)));
  }
}
