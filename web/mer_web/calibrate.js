/**
 * The page /calibrate: while music plays, a person taps on the plane where it feels to them. It shows neither the
 * model's point nor its mood word, which would draw the taps to them.
 */

import { readCanvasStyle } from "./canvas-style.js";
import { Connection } from "./connection.js";
import { element, setData, setText } from "./dom.js";
import { History } from "./history.js";
import { NoticeBar } from "./notice.js";
import { Plane } from "./plane.js";
import { tapMessage } from "./protocol.js";
import { counted, signed } from "./text.js";
import { Theme } from "./theme.js";

/** A step of the arrow keys. */
const STEP = 0.05;

/** What to do in each state of the music. @type {Record<string, string>} */
const PROMPTS = {
  tracking: "Tap where this music feels to you, now.",
  settling: "A piece has just begun: listen for a few seconds.",
  silence: "There is no music now: taps count while music plays.",
  speech: "Someone talks: taps count while music plays.",
  noise: "This is no music: taps count while music plays.",
  stalled: "No audio arrives: taps count while music plays.",
};

/** @param {import("./connection.js").Phase} phase */
function phasePrompt(phase) {
  if (phase.name === "locked") return "This server asks for a token: enter it on the main page, in this tab, and come back.";
  return phase.name === "connecting" ? "Connecting …" : "No connection to the server. It is tried again.";
}

class Calibration {
  constructor() {
    this._plane = new Plane(element("plane", HTMLCanvasElement), new History());
    this._notice = new NoticeBar();
    this._prompt = element("prompt", HTMLElement);
    this._count = element("count", HTMLElement);
    this._advice = element("advice", HTMLElement);
    this._mark = element("mark", HTMLElement);
    this._undo = element("undo", HTMLButtonElement);
    this._reset = element("reset", HTMLButtonElement);
    this._question = element("question", HTMLDialogElement);
    /** @type {import("./protocol.js").Personal|undefined} */
    this.personal = undefined;
    this._allowed = false;
    this._state = "";
    /** Whether a health message has come, which says whether there is a person. */
    this._knows = false;
    /** Where the person points. */
    this._at = { valence: 0, arousal: 0 };
    this._theme = new Theme(document.documentElement, () => this._restyle());
    this._restyle();
    this.connection = new Connection({ base: document.baseURI });
    this._listen();
    this._addControls();
    this.connection.open();
    requestAnimationFrame((now) => this._frame(now));
  }

  _restyle() {
    this._plane.setStyle(readCanvasStyle(document.documentElement));
  }

  _listen() {
    this.connection.addEventListener("phase", () => {
      if (this.connection.phase.name !== "open") this._knows = false;
      this._update();
    });
    this.connection.addEventListener("refused", (event) => {
      this._notice.show(`The server refuses this page: ${/** @type {CustomEvent} */ (event).detail}.`);
    });
    this.connection.addEventListener("message", (event) => {
      this._receive(/** @type {CustomEvent} */ (event).detail);
    });
    for (const name of ["online", "focus"]) addEventListener(name, () => this.connection.wake());
    addEventListener("pagehide", () => this.connection.close());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.connection.open();
    });
  }

  /** @param {import("./protocol.js").Message} message */
  _receive(message) {
    if (message.type === "hello") {
      this._allowed = message.role !== "view";
      this._state = "";
    } else if (message.type === "snapshot") {
      this._state = message.estimates.at(-1)?.state ?? this._state;
    } else if (message.type === "estimate") {
      this._state = message.state;
    } else if (message.type === "health") {
      const before = this.personal?.taps ?? message.personal?.taps ?? 0;
      this.personal = message.personal;
      this._knows = true;
      const taps = this.personal?.taps ?? 0;
      if (taps > before) setData(this._mark, "saved", "yes");
      if (taps !== before) this._notice.clear();
    } else if (message.type === "error") {
      this._mark.hidden = true;
      this._notice.show(`${message.message}.`);
    }
    this._update();
  }

  get _ready() {
    return this.connection.phase.name === "open" && this.personal !== undefined && this._allowed;
  }

  _update() {
    const { personal } = this;
    let prompt = PROMPTS[this._state] ?? "Waiting for music.";
    if (this.connection.phase.name !== "open") prompt = phasePrompt(this.connection.phase);
    else if (this._knows && !personal) prompt = "This server keeps nobody’s taps. Start it with --person NAME.";
    else if (!this._allowed) prompt = "Your token or link allows to watch only. Ask for one that allows to send.";
    setText(this._prompt, prompt);
    setData(this._prompt, "ready", this._ready && this._state === "tracking" ? "yes" : "no");
    setText(this._count, personal ? `${counted(personal.taps, "tap")} in ${counted(personal.pieces, "piece")} of music` : "");
    setText(this._advice, personal ? `${personal.advice}.` : "");
    this._undo.disabled = this._reset.disabled = !this._ready || !personal?.taps;
  }

  _addControls() {
    const canvas = element("plane", HTMLCanvasElement);
    canvas.addEventListener("click", (event) => {
      const at = this._plane.valueAt(event.clientX, event.clientY);
      if (at) this._tap(at);
    });
    canvas.addEventListener("keydown", (event) => {
      const { valence, arousal } = this._at;
      /** @type {Record<string, [number, number]>} */
      const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
      const move = moves[event.key];
      if (move) {
        const limited = (/** @type {number} */ value) => Math.max(-1, Math.min(1, Math.round(value * 100) / 100));
        this._point({ valence: limited(valence + move[0]), arousal: limited(arousal + move[1]) });
      } else if (event.key === "Enter" || event.key === " ") this._tap(this._at);
      else return;
      event.preventDefault();
    });
    this._undo.addEventListener("click", () => this._send({ action: "undo" }));
    this._reset.addEventListener("click", () => this._question.showModal());
    this._question.addEventListener("close", () => {
      if (this._question.returnValue === "reset") this._send({ action: "reset" });
      this._question.returnValue = "";
    });
    element("theme", HTMLButtonElement).addEventListener("click", () => this._theme.toggle());
  }

  /** @param {{valence: number, arousal: number}} at */
  _tap(at) {
    if (!this._ready) return;
    this._point(at);
    this._send({ action: "add", ...at });
  }

  /** @param {{valence: number, arousal: number}} at */
  _point(at) {
    this._at = at;
    const { left, top } = this._plane.positionOf(at.valence, at.arousal);
    this._mark.style.left = `${100 * left}%`;
    this._mark.style.top = `${100 * top}%`;
    setData(this._mark, "saved", "no");
    this._mark.hidden = false;
    setText(element("spoken", HTMLElement), `valence ${signed(at.valence)}, arousal ${signed(at.arousal)}`);
  }

  /** @param {import("./protocol.js").TapChange} change */
  _send(change) {
    this._notice.clear();
    if (change.action !== "add") this._mark.hidden = true;
    this.connection.send(tapMessage(change));
  }

  /** @param {number} now milliseconds */
  _frame(now) {
    requestAnimationFrame((next) => this._frame(next));
    this._plane.draw(0, 0, now / 1000);
  }
}

/** @type {any} */ (window).merCalibration = new Calibration();
