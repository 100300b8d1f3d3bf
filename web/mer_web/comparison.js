/** The choice of what to compare with: an earlier session of this page, or a file from this computer. */

import { CompareError, readCompareFile } from "./compare-file.js";
import { element, setText } from "./dom.js";
import { Ghost, pointsOfSession } from "./ghost.js";
import { clean, clock } from "./text.js";
import { timeOfDay } from "./time-axis.js";

/** The choice of none. */
const NOTHING = "no comparison";
/** Curves of files that are kept. */
const MAX_CURVES = 12;

/** @typedef {{key: string, name: string, points: () => import("./ghost.js").GhostPoint[]}} Choice */

export class Comparison {
  /**
   * @param {import("./history.js").History} history
   * @param {import("./timeline.js").Timeline} timeline
   * @param {(text: string) => void} notify  tells the user what is wrong with a file
   */
  constructor(history, timeline, notify) {
    this._history = history;
    this._timeline = timeline;
    this._notify = notify;
    this._select = element("compare", HTMLSelectElement);
    this._row = element("compare-row", HTMLElement);
    this._note = element("compare-note", HTMLElement);
    /** @type {import("./compare-file.js").Curve[]} */
    this._curves = [];
    /** @type {Ghost|null} */
    this.ghost = null;
    this._built = "";
    const input = element("compare-file", HTMLInputElement);
    element("compare-open", HTMLButtonElement).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file) void this.open(file);
      input.value = "";
    });
    this._select.addEventListener("change", () => this._choose(this._select.value));
    this.tick();
  }

  /** @param {File} file a recording, or a CSV: it stays on this computer */
  async open(file) {
    try {
      const curves = await readCompareFile(file);
      this._curves = [...this._curves, ...curves].slice(-MAX_CURVES);
      this._build();
      this._choose(`file ${this._curves.length - curves.length}`);
    } catch (error) {
      if (!(error instanceof CompareError)) throw error;
      this._notify(error.message);
    }
  }

  /** Updates the choice after a session began, and says how the other session lies to this one. */
  tick() {
    const { sessions } = this._history;
    const built = `${sessions.length}|${sessions[sessions.length - 1]?.id}|${this._curves.length}`;
    if (built !== this._built) this._build();
    this._built = built;
    setText(this._note, this._noteText());
  }

  /** @returns {string} why there may be nothing to see of the other session; usually empty */
  _noteText() {
    const { ghost } = this;
    if (!ghost) return "";
    if (!ghost.isComparable) return "raw values";
    const { end, seconds } = this._history;
    const t = end ? seconds.t[(seconds.end - 1) % seconds.capacity] : NaN;
    if (t > ghost.end + 1) return `ended at ${clock(ghost.end)}`;
    if (t < ghost.start - 1) return `begins at ${clock(ghost.start)}`;
    return "";
  }

  /** @returns {Choice[]} newest first */
  get _choices() {
    const { sessions, runs } = this._history;
    const current = sessions[sessions.length - 1]?.id;
    /** @type {Map<string, Choice>} */
    const earlier = new Map();
    sessions.forEach(({ id, label }, number) => {
      const run = runs.find((each) => each.session === number);
      if (id === current || !run) return;
      const name = `${clean(label, 24) || "session"}, ${timeOfDay(run.start - this._history.shift, false)}`;
      earlier.set(id, { key: `session ${id}`, name, points: () => pointsOfSession(this._history, id) });
    });
    const files = this._curves.map(({ name, points }, k) => ({ key: `file ${k}`, name, points: () => points }));
    return [...files.reverse(), ...[...earlier.values()].reverse()];
  }

  _build() {
    const chosen = this.ghost ? this._select.value : "";
    const choices = this._choices;
    this._select.replaceChildren(new Option(NOTHING, ""),
                                 ...choices.map(({ key, name }) => new Option(name, key)));
    this._row.hidden = choices.length === 0;
    // The session that was compared with may be the current one now.
    if (choices.some(({ key }) => key === chosen)) this._select.value = chosen;
    else if (chosen) this._choose("");
  }

  /** @param {string} key empty for none */
  _choose(key) {
    const choice = this._choices.find((each) => each.key === key);
    const points = choice?.points() ?? [];
    this.ghost = choice && points.length ? new Ghost(choice.name, points) : null;
    this._select.value = this.ghost ? key : "";
    this._row.classList.toggle("compared", this.ghost !== null);
    this._timeline.setGhost(this.ghost);
    setText(this._note, this._noteText());
  }
}
