/**
 * Puts the parts together: the connection fills the history, a frame draws it, a slow tick writes the words.
 *
 *     connection -> history -> plane, timeline      (each frame, canvases only)
 *                          \-> readout, announcer   (each estimate, at most four times a second)
 */

import { Announcer } from "./announcer.js";
import { bench, benchLine } from "./bench.js";
import { Connection } from "./connection.js";
import { element, write } from "./dom.js";
import { download } from "./export.js";
import { History } from "./history.js";
import { InputChoice } from "./input.js";
import { InputPanel } from "./input-panel.js";
import { readLook } from "./look.js";
import { ViewClock } from "./motion.js";
import { NoticeBar } from "./notice.js";
import { Plane } from "./plane.js";
import { Readout } from "./readout.js";
import { readSettings } from "./settings.js";
import { Shortcuts } from "./shortcuts.js";
import { Stage } from "./stage.js";
import { Status, inputLine } from "./status.js";
import { counted } from "./text.js";
import { Theme } from "./theme.js";
import { Timeline } from "./timeline.js";

/** Seconds that the timeline lies behind the newest estimate beyond one hop, so that its head never runs dry. */
const SLACK_S = 0.06;

/**
 * Warnings that say that another one is over.
 * @type {Record<string, string>}
 */
const OVER = { input_back: "input_lost", full_rate: "slower" };

/** Errors after which the server takes no more audio of ours. */
const ENDS_A_STREAM = new Set(["bad_format", "not_streaming", "too_many_sessions", "internal"]);

class App {
  constructor() {
    this.settings = readSettings(location.search);
    this.history = new History();
    this.clock = new ViewClock();
    this.plane = new Plane(element("plane", HTMLCanvasElement), this.history);
    this.timeline = new Timeline(element("timeline", HTMLCanvasElement), this.history);
    this.readout = new Readout();
    this.status = new Status();
    this.notice = new NoticeBar();
    this.stage = new Stage(document.documentElement, () => this.connection.phase.name === "open"
      && !this.notice.shown && !this.paused);
    const spoken = element("spoken", HTMLElement);
    this.announcer = new Announcer((text) => write(spoken, text));
    this.connection = new Connection({ base: document.baseURI });
    this.input = new InputChoice(this.connection);
    this.panel = new InputPanel(this.input);
    this.theme = new Theme(document.documentElement, () => this._relook());
    /** @type {import("./protocol.js").Hello|null} */
    this.hello = null;
    /** @type {import("./protocol.js").Health|null} */
    this.health = null;
    /** @type {import("./protocol.js").Estimate|null} */
    this.newest = null;
    this.hop = 1;
    /** Where the view was stopped; null while it runs. @type {{end: number, time: number}|null} */
    this.paused = null;
    /** Whether the stream has come to its end: then the clock of the view stands. */
    this.ended = false;
    this._frozen = NaN;
    this._last = NaN;
    /** @type {((cost: number, interval: number) => void)|null} */
    this._measured = null;
    this._look = readLook(document.documentElement);
    this._relook();
    this._wire();
    this._controls();
    this.setZoom(this.settings.zoom);
    requestAnimationFrame((now) => this._frame(now));
    setInterval(() => this._tick(), 250);
    this._start();
  }

  _start() {
    if (this.settings.bench === 0) {
      this.connection.open();
      return;
    }
    this.history.enter("bench", "made-up history");
    this.hop = 0.1;
    /** @type {any} */ (window).merBench = bench({
      take: (estimate) => this._take(estimate),
      zoom: (seconds) => this.setZoom(seconds),
      frames: (listen) => {
        this._measured = listen;
      },
    }, this.settings.bench).then((result) => {
      this.notice.show(benchLine(result), "bench");
      return result;
    });
  }

  _relook() {
    // The theme speaks first while the parts are still being made.
    if (!this.timeline || !this.readout) return;
    this._look = readLook(document.documentElement);
    this.plane.setLook(this._look);
    this.timeline.setLook(this._look);
    if (this.newest) this.readout.colour(this.newest, this._look.palette);
  }

  _wire() {
    this.connection.addEventListener("phase", () => {
      const { phase } = this.connection;
      const now = performance.now();
      this.status.link(phase, now);
      if (phase.name === "waiting" && this.health) this.announcer.event("Connection lost, reconnecting.", now);
      if (phase.name === "gone") this.announcer.event("The server is gone.", now);
      if (phase.name === "open") this.announcer.event("Connected.", now);
      if (phase.name !== "waiting") return;
      this.health = null;
      if (!this.newest) return;
      this.readout.hold("no connection: the last values");
      this.plane.hold();
    });
    this.connection.addEventListener("message", (event) => {
      this._receive(/** @type {CustomEvent} */ (event).detail);
    });
    this.connection.addEventListener("bad", (event) => {
      this.notice.show(`The server said something this page does not understand: ${
        /** @type {CustomEvent} */ (event).detail}.`, "protocol");
    });
    this.input.addEventListener("change", () => {
      const { kind, phase, name } = this.input.choice;
      if (phase === "running" && kind !== "server") {
        this.notice.clear("input");
        this.announcer.event(`Now hearing ${name}.`, performance.now());
      }
    });
    this.input.addEventListener("failed", (event) => {
      this.notice.show(/** @type {CustomEvent} */ (event).detail, "input");
    });
    this.input.addEventListener("finished", (event) => {
      this.announcer.event(`${/** @type {CustomEvent} */ (event).detail} has ended.`, performance.now());
    });
    addEventListener("online", () => this.connection.retryNow());
    addEventListener("pagehide", () => this.connection.close());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.connection.open();
    });
    const reduced = matchMedia("(prefers-reduced-motion: reduce)");
    const still = () => {
      this.plane.reducedMotion = reduced.matches;
    };
    reduced.addEventListener("change", still);
    still();
  }

  _controls() {
    const click = (/** @type {string} */ id, /** @type {() => void} */ run) =>
      element(id, HTMLButtonElement).addEventListener("click", run);
    click("pause", () => this.togglePause());
    click("export", () => this.export());
    click("theme", () => this.theme.toggle());
    click("full", () => this.toggleFull());
    click("help-open", () => this.help());
    click("retry", () => this.connection.retryNow());
    for (const radio of document.querySelectorAll("input[name=zoom]")) {
      const { value } = /** @type {HTMLInputElement} */ (radio);
      radio.addEventListener("change", () => this.setZoom(Number(value)));
    }
    const canvas = element("timeline", HTMLCanvasElement);
    canvas.addEventListener("pointermove", (event) => {
      this.timeline.pointer = event.clientX - canvas.getBoundingClientRect().left;
    });
    canvas.addEventListener("pointerleave", () => {
      this.timeline.pointer = -1;
    });
    const shortcuts = new Shortcuts({
      "p": () => this.togglePause(), " ": () => this.togglePause(), "f": () => this.toggleFull(),
      "e": () => this.export(), "t": () => this.theme.toggle(), "?": () => this.help(),
      "1": () => this.setZoom(60), "2": () => this.setZoom(600), "3": () => this.setZoom(3600),
      "s": () => this.panel.server(), "m": () => this.panel.microphone(), "o": () => this.panel.file(),
    });
    const keys = element("keys-on", HTMLInputElement);
    keys.checked = shortcuts.enabled;
    keys.addEventListener("change", () => shortcuts.enable(keys.checked));
    const full = element("full", HTMLButtonElement);
    full.hidden = !document.fullscreenEnabled;
  }

  /** Whether this browser sends audio, and the server has not yet answered with a session for it. */
  get _awaitsOwn() {
    const { kind, phase } = this.input.choice;
    return kind !== "server" && phase === "running" && this.hello?.input.kind !== "browser";
  }

  /** @param {import("./protocol.js").Message} message */
  _receive(message) {
    // Between our start and the server's answer its own session still speaks: that is not what we hear.
    if (this._awaitsOwn && (message.type === "snapshot" || message.type === "estimate")) return;
    switch (message.type) {
      case "hello":
        this._hello(message);
        break;
      case "snapshot":
        this._fill(message.estimates);
        break;
      case "estimate":
        this._take(message);
        break;
      case "health":
        this.health = message;
        break;
      case "warning":
        this._warn(message);
        break;
      case "error":
        this.notice.show(message.message, message.code);
        if (ENDS_A_STREAM.has(message.code)) this.input.refuse(message.message);
        break;
      case "end":
        this._end(message);
        break;
      default:
    }
  }

  /** @param {import("./protocol.js").Hello} hello */
  _hello(hello) {
    this.hello = hello;
    this.hop = hello.hop_s;
    this.ended = false;
    this.readout.coverage(hello.coverage);
    this.status.hello(hello);
    this.notice.clear("protocol");
    this.notice.clear("ended");
    if (this._awaitsOwn) return;
    const own = this.input.choice.kind !== "server";
    if (!own) this.status.server(hello.input);
    if (this.history.enter(hello.session, hello.input.name || hello.input.kind)) {
      this.plane.leap();
      this.readout.clear(own || hello.input.kind !== "browser"
        ? "waiting for music"
        : "this server has no input of its own: choose the microphone or a file");
    }
    this.announcer.event(`Hearing ${inputLine(hello.input)}.`, performance.now());
  }

  /** @param {import("./protocol.js").Notice} warning */
  _warn(warning) {
    // A stall is a state of the estimates and stands above the mood as long as it lasts.
    if (warning.code === "stalled") return;
    const over = OVER[warning.code];
    if (over) {
      this.notice.clear(over);
      this.announcer.event(warning.message, performance.now());
      return;
    }
    this.notice.show(warning.message, warning.code);
  }

  /** @param {import("./protocol.js").End} end */
  _end(end) {
    if (end.session !== this.hello?.session) return;
    if (this.hello.input.kind === "browser") {
      this.input.ended(end.reason);
      return;
    }
    this._frozen = this.clock.at(performance.now() / 1000);
    this.ended = true;
    this.notice.show(`The input has ended: ${end.reason || "nothing more comes"}.`, "ended");
  }

  /** @param {import("./protocol.js").Estimate[]} estimates of the past, oldest first */
  _fill(estimates) {
    let newest = null;
    for (const estimate of estimates) {
      this.connection.seen(estimate.seq);
      if (this.history.push(estimate)) newest = estimate;
    }
    if (newest) this._show(newest);
  }

  /** @param {import("./protocol.js").Estimate} estimate of now */
  _take(estimate) {
    this.connection.seen(estimate.seq);
    if (this.history.push(estimate, true)) this._show(estimate);
  }

  /** @param {import("./protocol.js").Estimate} estimate the newest */
  _show(estimate) {
    const now = performance.now();
    this.clock.sync(this.history.newest, now / 1000);
    this.ended = false;
    this.newest = estimate;
    if (this.paused) return;
    this.plane.show(estimate, this.hop, now);
    this.readout.show(estimate, this._look.palette, now);
    this.announcer.estimate(estimate, now);
  }

  /** @param {number} now milliseconds */
  _frame(now) {
    requestAnimationFrame((next) => this._frame(next));
    const before = this._last;
    this._last = now;
    const begun = performance.now();
    const elapsed = Number.isFinite(before) ? Math.min(0.25, (now - before) / 1000) : 0;
    const end = this.paused ? this.paused.end : this.history.end;
    const time = this.viewTime(now / 1000);
    this.plane.draw(elapsed, end, time);
    this.timeline.draw(time, end);
    if (this._measured && Number.isFinite(before)) this._measured(performance.now() - begun, now - before);
  }

  /**
   * @param {number} local seconds
   * @returns {number} the server's time at the right edge of the timeline
   */
  viewTime(local) {
    if (this.paused) return this.paused.time;
    if (this.ended) return this._frozen;
    // Reduced motion: the timeline steps with the estimates.
    if (this.plane.reducedMotion && this.history.length) return this.history.newest;
    return this.clock.at(local) - this.hop - SLACK_S;
  }

  /** Words that follow the clock and not an estimate. */
  _tick() {
    const now = performance.now();
    this.status.link(this.connection.phase, now);
    this.status.health(this.health, this.input.droppedSeconds);
    this.panel.tick();
    this.announcer.tick(now);
    this.stage.tick(now);
    if (!this.paused) this.readout.tick(this._look.palette, now);
    const unseen = element("unseen", HTMLElement);
    unseen.hidden = !this.paused;
    element("legend", HTMLElement).hidden = this.paused !== null;
    if (this.paused) write(unseen, `paused · ${this.history.end - this.paused.end} new while paused`);
  }

  togglePause() {
    const now = performance.now() / 1000;
    this.paused = this.paused ? null : { end: this.history.end, time: this.viewTime(now) };
    const button = element("pause", HTMLButtonElement);
    button.setAttribute("aria-pressed", String(this.paused !== null));
    write(element("pause-text", HTMLElement), this.paused ? "Resume" : "Pause");
    element("pause-icon", SVGUseElement).setAttribute("href", this.paused ? "#i-play" : "#i-pause");
    this.announcer.event(this.paused ? "View paused." : "View running.", now * 1000);
    if (!this.paused && this.newest) {
      this.plane.show(this.newest, this.hop, now * 1000);
      this.readout.show(this.newest, this._look.palette, now * 1000);
    }
    this._tick();
  }

  export() {
    if (!this.history.length) {
      this.notice.show("There is nothing to save yet: no estimate has arrived.", "export");
      return;
    }
    download(this.history);
    this.announcer.event(`Saved ${counted(this.history.length, "estimate")}.`, performance.now());
  }

  toggleFull() {
    const change = document.fullscreenElement
      ? document.exitFullscreen()
      : document.documentElement.requestFullscreen();
    change.catch(() => this.notice.show("This browser did not allow full screen here.", "full"));
  }

  help() {
    element("help", HTMLDialogElement).showModal();
  }

  /** @param {number} seconds */
  setZoom(seconds) {
    this.timeline.setZoom(seconds);
    for (const radio of document.querySelectorAll("input[name=zoom]")) {
      const input = /** @type {HTMLInputElement} */ (radio);
      input.checked = Number(input.value) === seconds;
    }
  }
}

/** @type {any} */ (window).mer = new App();
