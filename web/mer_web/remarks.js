/**
 * What is remarked beside the estimates: markers of people, and changes of the music. Keeps the newest ones, and where
 * they are on the axis of the history.
 */

/** Of each kind, as many as twelve hours have. */
const CAPACITY = 6000;
/** Remarks of a group that are told one by one. */
const TOLD = 5;

/** Texts of the changes. One that is not here is not shown: a mood that ends is followed by the next one.
 *  @type {Record<string, string>} */
const CHANGES = {
  rise: "energy rises", drop: "energy falls", section: "another part begins", silence: "the music stops",
  music: "music begins", mood_enter: "mood",
};

/**
 * @typedef {object} Remark
 * @property {"marker"|"change"} kind
 * @property {string} session
 * @property {number} t      seconds of the stream
 * @property {string} utc    ISO 8601
 * @property {string} text
 * @property {number} time   on the axis of the history, in seconds; NaN while that has no estimate of the session
 */

/** @typedef {{time: number, remarks: Remark[]}} Group  those that would overlap, in order; `time` is the first one's */

/**
 * @param {import("./protocol.js").ChangeEvent} event
 * @returns {string} empty for a change that is not shown
 */
export function changeText({ kind, mood }) {
  const text = CHANGES[kind] ?? "";
  return kind === "mood_enter" ? `${text}: ${mood}` : text;
}

/**
 * @param {Group} group
 * @returns {{told: Remark[], rest: string}} the first ones, and a sentence on the others; empty for none
 */
export function told({ remarks }) {
  if (remarks.length <= TOLD + 1) return { told: remarks, rest: "" };
  const noun = remarks[0].kind === "marker" ? "markers" : "changes";
  return { told: remarks.slice(0, TOLD), rest: `and ${remarks.length - TOLD} more ${noun}: zoom in to read them` };
}

/** @param {Omit<Remark, "time">} remark */
function keyOf({ kind, session, t, utc, text }) {
  return JSON.stringify([kind, session, t, utc, text]);
}

export class Remarks {
  /** @param {import("./history.js").History} history */
  constructor(history) {
    this._history = history;
    /** @type {Record<"marker"|"change", Remark[]>} */
    this._lists = { marker: [], change: [] };
    /** @type {Set<string>} */
    this._keys = new Set();
    /** Number of remarks that were added. */
    this.version = 0;
  }

  /** Changes with what `groups` returns. */
  get stamp() {
    return `${this.version}|${this.waiting ? this._history.end : ""}`;
  }

  /**
   * @param {Omit<Remark, "time">} remark
   * @returns {boolean} false if it is there already: a server repeats those of the last minutes after the snapshot
   */
  add(remark) {
    const list = this._lists[remark.kind];
    const key = keyOf(remark);
    if (this._keys.has(key)) return false;
    this._keys.add(key);
    list.push({ ...remark, time: NaN });
    for (const old of list.splice(0, list.length - CAPACITY)) this._keys.delete(keyOf(old));
    this.version += 1;
    return true;
  }

  /**
   * @param {"marker"|"change"} kind
   * @param {number} seconds least distance of two groups
   * @returns {Group[]} in order of time
   */
  groups(kind, seconds) {
    const placed = this._lists[kind].filter((each) => this._place(each)).sort((a, b) => a.time - b.time);
    /** @type {Group[]} */
    const groups = [];
    for (const remark of placed) {
      const last = groups[groups.length - 1];
      if (last && remark.time - last.time < seconds) last.remarks.push(remark);
      else groups.push({ time: remark.time, remarks: [remark] });
    }
    return groups;
  }

  /** Whether some wait for an estimate of their session. */
  get waiting() {
    return Object.values(this._lists).some((list) => list.some((each) => Number.isNaN(each.time)));
  }

  /**
   * @param {Remark} remark
   * @returns {boolean} whether its place is known
   */
  _place(remark) {
    if (Number.isNaN(remark.time)) remark.time = this._history.timeOf(remark.session, remark.t);
    return !Number.isNaN(remark.time);
  }
}
