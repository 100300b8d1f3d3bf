/**
 * The large word: the mood while music is heard, else the state, with the last mood in the small line above it.
 * It changes calmly: a word stays for at least two seconds.
 */

import { clean } from "./text.js";

/** Least time that a word of the estimates is shown, in milliseconds. */
export const DWELL_MS = 2000;

/**
 * @typedef {object} Headline
 * @property {string} word     the large word
 * @property {string} line     the small line: what the state means
 * @property {string} state    of the style sheet: a state of the estimates, "frozen" or "waiting"
 * @property {boolean} isMood  whether the word is a mood; else it is a state
 */

/** @typedef {"audio"|"input"|"engine"} Stall */
/** @typedef {Stall|"connection"|"estimates"|"sound"|"ended"|"reconnected"} Cause */

/** States in which the music is not heard: [the large word, what it means]. @type {Record<string, [string, string]>} */
const STATES = {
  silence: ["silence", "the input is silent"],
  speech: ["speech", "talk without music"],
  noise: ["noise", "no music, no speech"],
};

/** The same of a stall, by its reason. @type {Record<Stall, [string, string]>} */
const STALLS = {
  audio: ["no audio", "stalled: no audio arrives"],
  input: ["no input", "the input is away"],
  engine: ["stalled", "the engine does not work"],
};

/** Why the values shown are no longer current: [the large word, what it means]. @type {Record<Cause, [string, string]>} */
const CAUSES = {
  ...STALLS,
  connection: ["no connection", "the server does not answer"],
  estimates: ["no news", "no new estimates arrive"],
  sound: ["no sound", "nothing comes from this browser"],
  ended: ["ended", "the input has ended"],
  reconnected: ["reconnected", "waiting for the next estimate"],
};

/** Nothing has been heard yet: [the large word, what it means]. @type {Record<"music"|"choice", [string, string]>} */
const BEGINNINGS = {
  music: ["listening", "waiting for music"],
  choice: ["no input yet", "choose the microphone or a file"],
};

/**
 * @param {string} line
 * @param {string} lastMood  empty before the first
 * @returns {string}
 */
function withLast(line, lastMood) {
  return lastMood ? `${line} · last: ${lastMood}` : line;
}

/**
 * @param {{state: string, mood: string}} estimate
 * @param {Stall} stall      the reason of a stall
 * @param {string} lastMood  the last one that was heard; empty before the first
 * @returns {Headline}
 */
export function headlineOf({ state, mood }, stall, lastMood) {
  const away = state === "stalled" ? STALLS[stall] : STATES[state];
  if (away) return { word: away[0], line: withLast(away[1], mood || lastMood), state, isMood: false };
  const line = state === "settling" ? "settling: not enough music yet" : clean(state, 24);
  // There is no mood word before half a second of music.
  return mood ? { word: clean(mood, 24), line, state, isMood: true } : { word: "listening", line, state, isMood: false };
}

/**
 * @param {Cause} cause     why the values shown are no longer current
 * @param {string} lastMood
 * @returns {Headline}
 */
export function frozenHeadline(cause, lastMood) {
  const [word, line] = CAUSES[cause];
  return { word, line: withLast(line, lastMood), state: "frozen", isMood: false };
}

/**
 * @param {"music"|"choice"} what  is waited for
 * @returns {Headline}
 */
export function waitingHeadline(what) {
  const [word, line] = BEGINNINGS[what];
  return { word, line, state: "waiting", isMood: false };
}

/** Holds a word of the estimates on screen for its least time. */
export class Dwell {
  constructor() {
    /** @type {Headline|null} */
    this.shown = null;
    this._changedAt = -Infinity;
  }

  /**
   * @param {Headline} headline  that of the newest estimate
   * @param {number} now         milliseconds
   * @returns {Headline} the one to show
   */
  offer(headline, now) {
    const same = this.shown?.word === headline.word;
    if (this.shown && !same && now - this._changedAt < DWELL_MS) return this.shown;
    if (!same) this._changedAt = now;
    this.shown = headline;
    return headline;
  }

  /** Lets the next estimate change the word at once: the one shown is that of a past estimate. */
  release() {
    this._changedAt = -Infinity;
  }

  /**
   * Shows what the page itself knows at once; the next estimate replaces it at once too.
   * @param {Headline} headline
   * @returns {Headline} the same
   */
  set(headline) {
    this.shown = headline;
    this._changedAt = -Infinity;
    return headline;
  }
}
