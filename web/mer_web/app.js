/**
 * Connects the parts: the connection fills the history, each frame draws it, a slow tick updates the texts.
 *
 *     connection -> history -> plane, timeline              (each frame, canvases only)
 *                          \-> value display, announcer    (each estimate, at most four times a second)
 */

import { Announcer } from "./announcer.js";
import { bench, benchLine } from "./bench.js";
import { Comparison } from "./comparison.js";
import { Connection, POLICY_VIOLATION, TRY_AGAIN_LATER } from "./connection.js";
import { element, setText } from "./dom.js";
import { download } from "./export.js";
import { Following } from "./following.js";
import { Gate } from "./gate.js";
import { History } from "./history.js";
import { InputChoice } from "./input.js";
import { InputPanel } from "./input-panel.js";
import { readCanvasStyle } from "./canvas-style.js";
import { ViewClock } from "./motion.js";
import { MarkerForm } from "./marker-form.js";
import { MicrophoneHint } from "./microphone-hint.js";
import { NoticeBar } from "./notice.js";
import { Overlay } from "./overlay.js";
import { PersonalLayer } from "./personal-layer.js";
import { Plane } from "./plane.js";
import { SchemaError } from "./protocol.js";
import { PulseFeed } from "./pulse.js";
import { RangeSwitch } from "./range-switch.js";
import { RemarkFlags } from "./remark-flags.js";
import { Remarks, changeText } from "./remarks.js";
import { handleReportLink } from "./report.js";
import { ValueDisplay } from "./value-display.js";
import { readSettings } from "./settings.js";
import { Shortcuts } from "./shortcuts.js";
import { IdleControls } from "./idle-controls.js";
import { Status, inputLine } from "./status.js";
import { brief, counted, span } from "./text.js";
import { ShowPanel } from "./show-panel.js";
import { Target, targetLine } from "./target.js";
import { Theme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { TimelineControls } from "./timeline-controls.js";
import { RANGES, shownRange } from "./value-range.js";

/** Delay of the timeline beyond one hop, in seconds, so that its right edge always has data. */
const VIEW_DELAY_S = 0.06;

/**
 * Warnings that resolve other warnings.
 * @type {Record<string, string[]>}
 */
const RESOLVES = {
  input_back: ["input_lost"], full_rate: ["slower"], engine_back: ["engine_failed", "engine_stalled"],
};

/**
 * Warnings that say whether a stall is the engine's or that of the audio.
 * @type {Record<string, boolean>}
 */
const ENGINE_FAILS = {
  engine_failed: true, engine_stalled: true, engine_back: false, stalled: false, input_lost: false,
};

/** The level of an estimate that heard nothing, in dB. */
const NO_LEVEL_DB = -120;

/** Errors after which the server accepts no more audio from this page. */
const STREAM_ENDING_ERRORS = new Set(["bad_format", "too_many_sessions", "forbidden", "internal"]);

/** The reply to blocks that were under way when the server ended the stream; the reason has come before. */
const LATE_BLOCKS_ERROR = "not_streaming";

/** A close so soon after an error has the error's reason. */
const EXPLAINED_MS = 2000;

/** Without an estimate for two hops, and at least this long, the last values are not live. */
const STALE_MS = 2000;
/** The same while the server is busy: its estimates are then up to 4.5 s apart. */
const STALE_WHILE_SLOW_MS = 10_000;

class App {
  constructor() {
    this.settings = readSettings(location.search);
    for (const fault of this.settings.faults) console.warn(fault);
    this.overlay = this.settings.overlay
      && new Overlay(document.documentElement, this.settings.overlay, () => this._restyle());
    this.history = new History();
    this.clock = new ViewClock();
    this.plane = new Plane(element("plane", HTMLCanvasElement), this.history);
    this.timeline = new Timeline(element("timeline", HTMLCanvasElement), this.history);
    this.timelineControls = new TimelineControls(element("timeline", HTMLCanvasElement), this.timeline, this.history);
    this.remarks = new Remarks(this.history);
    this.flags = new RemarkFlags(this.remarks, this.timeline);
    this.personal = new PersonalLayer(this.plane);
    this.valueDisplay = new ValueDisplay();
    this.status = new Status();
    this.notice = new NoticeBar();
    this.idleControls = new IdleControls(document.documentElement, () => this.connection.phase.name === "open"
      && !this.notice.shown && !this.paused && !this.markers.isOpen);
    const spoken = element("spoken", HTMLElement);
    this.announcer = new Announcer((text) => setText(spoken, text));
    this.connection = new Connection({ base: document.baseURI });
    this.following = new Following(location.search, this.connection);
    this.pulse = new PulseFeed(this.connection);
    this.input = new InputChoice(this.connection);
    this.comparison = new Comparison(this.history, this.timeline, (text) => this.notice.show(text, "compare"));
    this.panel = new InputPanel(this.input, (file) => void this.comparison.open(file));
    this.hint = new MicrophoneHint();
    this.show = new ShowPanel((message) => this.connection.send(message));
    this.markers = new MarkerForm((message) => this.connection.send(message), () => this.newest?.t ?? NaN);
    this.range = new RangeSwitch(this.plane, () => this._changeRange());
    this.gate = new Gate((token) => this.connection.unlock(token));
    this.theme = new Theme(document.documentElement, () => this._restyle(), this.overlay !== null);
    /** @type {import("./protocol.js").Hello|null} */
    this.hello = null;
    /** @type {import("./protocol.js").Health|null} */
    this.health = null;
    /** @type {import("./protocol.js").Estimate|null} */
    this.newest = null;
    /** The one whose values are shown: not the newest while the view is paused. @type {import("./protocol.js").Estimate|null} */
    this._shown = null;
    this.hop = 1;
    /** The way that the session is meant to take. @type {Target|null} */
    this.target = null;
    /** Whether what arrives happened before this page came: it is not news. */
    this._catchesUp = true;
    /** When the newest estimate of the shown session was shown, in milliseconds; NaN before it. */
    this._estimateAt = NaN;
    this._tickedAt = -Infinity;
    /** Whether the server has announced fewer estimates. */
    this._slow = false;
    /** Whether a stall is the engine's and not that of the audio, as far as the server has told. */
    this._engineFails = false;
    /** Whether the server's input is away, as far as the server has told. */
    this._inputAway = false;
    /** Why the values shown are no longer current. @type {import("./headline.js").Cause|null} */
    this._frozenBy = null;
    /** Whether the values shown came over an earlier connection. */
    this._reconnected = false;
    /** When the server last said what it refuses, in milliseconds. */
    this._explainedAt = -Infinity;
    /** Where the view was paused; null while it runs. @type {{end: number, time: number}|null} */
    this.paused = null;
    /** Whether the stream has ended; the view's clock then stops. */
    this.ended = false;
    this._endViewTime = NaN;
    this._last = NaN;
    /** @type {((cost: number, interval: number) => void)|null} */
    this._frameListener = null;
    this._style = readCanvasStyle(document.documentElement);
    this._restyle();
    this._addListeners();
    this._addControls();
    this.setZoom(this.settings.zoom);
    /** Stage mode; null until it is entered. @type {import("./stage.js").Stage|null} */
    this.stage = null;
    /** @type {Promise<import("./stage.js").Stage>|null} */
    this._stageComes = null;
    if (this.settings.stage) void this.enterStage(this.settings.scene);
    requestAnimationFrame((now) => this._frame(now));
    setInterval(() => this._tick(), 250);
    this._start();
  }

  _start() {
    if (this.settings.bench === 0) {
      this.connection.open();
      return;
    }
    this.history.startSession("bench", "synthetic history");
    this.hop = 0.1;
    /** @type {any} */ (window).merBench = bench({
      addEstimate: (estimate) => this._handleEstimate(estimate),
      setZoom: (seconds) => this.setZoom(seconds),
      onFrame: (listener) => {
        this._frameListener = listener;
      },
    }, this.settings.bench).then((result) => {
      this.notice.show(benchLine(result), "bench");
      return result;
    });
  }

  _restyle() {
    // The theme calls this once before the other parts exist.
    if (!this.timeline || !this.valueDisplay) return;
    this._style = readCanvasStyle(document.documentElement);
    this.plane.setStyle(this._style);
    this.timeline.setStyle(this._style);
    if (this._shown) this.valueDisplay.colour(this._shown, this._style.palette);
  }

  _addListeners() {
    this.connection.addEventListener("phase", () => {
      const { phase } = this.connection;
      const now = performance.now();
      this.status.link(phase, now);
      if (phase.name === "waiting" && this.health) this.announcer.event("Connection lost, reconnecting.", now);
      if (phase.name === "gone" && phase.code !== TRY_AGAIN_LATER) this.announcer.event("The server is gone.", now);
      if (phase.name === "open") {
        this._reconnected = this.newest !== null;
        this._slow = false;
        this.gate.hide();
        for (const topic of ["refused", "closed"]) this.notice.clear(topic);
      }
      if (phase.name === "locked") this._handleLock(phase.reason);
      this.gate.setBusy(phase.name === "connecting");
      element("forget", HTMLButtonElement).hidden = !this.connection.hasToken;
      this._showRights();
      if (phase.name !== "waiting" && phase.name !== "locked") return;
      const refused = phase.name === "waiting" && [POLICY_VIOLATION, TRY_AGAIN_LATER].includes(phase.code);
      // A message with the reason in more words came just before.
      if (refused && phase.reason && now - this._explainedAt > EXPLAINED_MS) {
        this.notice.show(`The server closed the connection: ${phase.reason}.`, "closed");
      }
      this.health = null;
      this._estimateAt = NaN;
      if (phase.name === "locked" && !this.newest) return;
      this._freeze("connection");
    });
    this.connection.addEventListener("message", (event) => {
      this._receive(/** @type {CustomEvent} */ (event).detail);
    });
    this.connection.addEventListener("invalid", (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      if (detail instanceof SchemaError) this.notice.show(`This page is too old or too new: ${detail.message}.`, "protocol");
      else console.warn(`ignored a message of the server: ${detail.message}`);
    });
    this.connection.addEventListener("refused", (event) => {
      this.notice.show(`The server refuses this page: ${/** @type {CustomEvent} */ (event).detail}.`, "refused");
    });
    this.input.addEventListener("change", () => {
      const { kind, phase, name, trouble } = this.input.choice;
      this.hint.update(this.input.choice);
      if (phase === "opening" || kind === "server") this._reconnected = false;
      if (phase !== "waiting" && kind !== "server") this.notice.clear("input");
      if (phase === "running" && kind !== "server") {
        this.announcer.event(`Input: ${name}.`, performance.now());
      }
      if (phase !== "waiting") return;
      // The notice is an alert, which screen readers announce.
      this.notice.show(trouble, "input");
      this._freeze("sound");
    });
    this.input.addEventListener("notice", (event) => {
      this.notice.show(/** @type {CustomEvent} */ (event).detail, "input");
    });
    this.input.addEventListener("finished", (event) => {
      this.announcer.event(`${/** @type {CustomEvent} */ (event).detail} has ended.`, performance.now());
    });
    // After a sleep of the computer, or in another network, the connection may be dead without a word.
    for (const name of ["online", "focus"]) addEventListener(name, () => this.connection.wake());
    for (const name of ["visibilitychange", "resume"]) {
      document.addEventListener(name, () => {
        if (document.visibilityState === "visible") this.connection.wake();
      });
    }
    addEventListener("pagehide", () => this.connection.close());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.connection.open();
    });
    const reduced = matchMedia("(prefers-reduced-motion: reduce)");
    const applyReducedMotion = () => {
      this.plane.reducedMotion = reduced.matches;
    };
    reduced.addEventListener("change", applyReducedMotion);
    applyReducedMotion();
  }

  _addControls() {
    const click = (/** @type {string} */ id, /** @type {() => void} */ run) =>
      element(id, HTMLButtonElement).addEventListener("click", run);
    click("pause", () => this.togglePause());
    click("export", () => this.export());
    click("theme", () => this.theme.toggle());
    click("stage-open", () => this.openStage());
    click("full", () => this.toggleFullScreen());
    click("help-open", () => this.help());
    click("retry", () => this.connection.retryNow());
    click("forget", () => this.connection.forget());
    const shortcuts = new Shortcuts({
      "p": () => this.togglePause(), " ": () => this.togglePause(), "f": () => this.toggleFullScreen(),
      "e": () => this.export(), "t": () => this.theme.toggle(), "?": () => this.help(),
      "1": () => this.setZoom(60), "2": () => this.setZoom(600), "3": () => this.setZoom(3600), "4": () => this.setZoom(Infinity),
      "k": () => this.markers.toggle(), "r": () => this.range.toggle(),
      "s": () => this.openStage(),
      "i": () => this.panel.selectServer(), "m": () => this.panel.selectMicrophone(), "o": () => this.panel.openFileDialog(),
    });
    // An overlay is not operated.
    if (this.overlay) shortcuts.enabled = false;
    const report = document.querySelector("#help a[download]");
    if (report instanceof HTMLAnchorElement) handleReportLink(report, () => this.hello?.session ?? "");
    const keys = element("keys-on", HTMLInputElement);
    keys.checked = shortcuts.enabled;
    keys.addEventListener("change", () => shortcuts.enable(keys.checked));
    const full = element("full", HTMLButtonElement);
    full.hidden = !document.fullscreenEnabled;
  }

  /** Whether this browser sends audio and the server has not yet replied with a session for it. */
  get _awaitsOwnSession() {
    const { kind, phase } = this.input.choice;
    return kind !== "server" && phase !== "opening" && this.hello?.input.kind !== "browser";
  }

  /** @param {import("./protocol.js").Message} message */
  _receive(message) {
    // Until the reply to our start, estimates still belong to the server's own session: ignore them.
    if (this._awaitsOwnSession && (message.type === "snapshot" || message.type === "estimate")) return;
    switch (message.type) {
      case "hello":
        this._handleHello(message);
        break;
      case "snapshot":
        this._handleSnapshot(message.estimates);
        break;
      case "estimate":
        this._handleEstimate(message);
        break;
      case "event":
        this._handleRemark("change", message, changeText(message));
        break;
      case "marker":
        if (this._handleRemark("marker", message, message.text) && !this._catchesUp) {
          this.announcer.event(`Marker: ${message.text}.`, performance.now());
        }
        break;
      case "health":
        this._catchesUp = false;
        this.health = message;
        this.following.health(message, this.hello?.role ?? "");
        this.show.update(message.show);
        this.personal.update(message.personal);
        break;
      case "warning":
        this._handleWarning(message);
        break;
      case "error":
        if (message.code === LATE_BLOCKS_ERROR) break;
        this._explainedAt = performance.now();
        this.notice.show(message.message, message.code);
        if (STREAM_ENDING_ERRORS.has(message.code)) this.input.handleRefusal(message.message);
        break;
      case "end":
        this._handleEnd(message);
        break;
      default:
    }
  }

  /** @param {import("./protocol.js").Hello} hello */
  _handleHello(hello) {
    this.hello = hello;
    this.hop = hello.hop_s;
    this.clock.setRate(hello.speed);
    this.ended = false;
    this._catchesUp = true;
    // The server repeats after the snapshot what still holds.
    this._engineFails = false;
    this._inputAway = false;
    for (const topic of ["engine_failed", "engine_stalled", "slower", "input_lost"]) this.notice.clear(topic);
    this.valueDisplay.coverage(hello.coverage);
    setText(element("help-window", HTMLElement), brief(hello.window_s));
    this.range.setAvailable(hello.range === "music");
    this.following.hello(hello);
    this.panel.setFollowing(this.following.active);
    this.status.hello(hello);
    for (const topic of ["protocol", "ended", "too_many_viewers"]) this.notice.clear(topic);
    element("recording", HTMLElement).hidden = !hello.recording;
    if (hello.recording) this.announcer.event("This session is being recorded.", performance.now());
    this._showRights();
    if (this._awaitsOwnSession) return;
    this.target = hello.target.length ? new Target(hello.target) : null;
    this._setTarget();
    element("aim", HTMLElement).hidden = true;
    const ownInput = this.input.choice.kind !== "server";
    if (!ownInput && !this.following.active) this.status.server(hello.input);
    if (this.history.startSession(hello.session, hello.input.name || hello.input.kind)) {
      this._estimateAt = NaN;
      this._slow = false;
      // The same music goes on elsewhere: what was shown stays until its next estimate.
      if (this._reconnected && (ownInput || hello.input.kind !== "browser")) {
        this._freeze("reconnected");
        return;
      }
      this.plane.reset();
      this.newest = this._shown = null;
      this.personal.show(null);
      const hasInput = ownInput || hello.input.kind !== "browser" || this.following.active;
      this.valueDisplay.clear(hasInput ? "music" : "choice");
      if (!hasInput && hello.role !== "view" && isSecureContext) this.hint.show();
    }
    this.announcer.event(`Input: ${inputLine(hello.input)}.`, performance.now());
  }

  /** @param {string} reason why the token was refused; empty if there was none */
  _handleLock(reason) {
    this.gate.show(reason && `The server did not accept the token: ${reason}.`);
    this.announcer.event("This server asks for a token.", performance.now());
  }

  /** Says what this page may send, and where it goes. */
  _showRights() {
    let refusal = "";
    if (this.connection.phase.name === "locked") refusal = "This server asks for a token first.";
    else if (this.hello?.role === "view") {
      refusal = "Your token or link allows to watch only. To send sound from this browser, ask the operator for one that allows it.";
    }
    this.panel.setRights(refusal);
    const controls = this.connection.phase.name === "open" && this.hello?.role === "control";
    this.show.setAllowed(controls);
    // Markers are those of the server's own session.
    this.markers.setAllowed(controls && this.hello?.input.kind !== "browser", this._markerHint());
  }

  /** @returns {string} what happens to a marker */
  _markerHint() {
    if (this.hello?.recording) return "Goes into the recording; everyone who may watch sees it.";
    const why = this.hello?.input.kind === "recording" ? "A replay does not change its recording" : "Nothing is recorded";
    return `${why}: everyone who may watch sees the marker, and it is gone with the session.`;
  }

  /**
   * @param {import("./remarks.js").Remark["kind"]} kind
   * @param {{t: number, utc: string}} when
   * @param {string} text empty for one that is not shown
   * @returns {boolean} whether it is a new one
   */
  _handleRemark(kind, { t, utc }, text) {
    if (!text || !this.hello || this._awaitsOwnSession) return false;
    return this.remarks.add({ kind, session: this.hello.session, t, utc, text });
  }

  /** @param {import("./protocol.js").Notice} warning */
  _handleWarning(warning) {
    this._engineFails = ENGINE_FAILS[warning.code] ?? this._engineFails;
    if (warning.code === "input_lost" || warning.code === "input_back") this._inputAway = warning.code === "input_lost";
    // The estimates of a stall say so too, once there is one.
    if (warning.code === "input_lost") this._freeze("input");
    if (warning.code === "stalled" && !this._inputAway) this._freeze(this._soundIsAway ? "sound" : "audio");
    if (warning.code === "input_back" && !this.newest) this.valueDisplay.clear("music");
    if (warning.code === "stalled") return;
    if (warning.code === "slower" || warning.code === "full_rate") this._slow = warning.code === "slower";
    const resolved = RESOLVES[warning.code];
    if (resolved) {
      for (const topic of resolved) this.notice.clear(topic);
      this.announcer.event(warning.message, performance.now());
      return;
    }
    this.notice.show(warning.message, warning.code);
  }

  /** @param {import("./protocol.js").End} end */
  _handleEnd(end) {
    if (end.session !== this.hello?.session) return;
    if (this.hello.input.kind === "browser") {
      // The server shows its own stream next.
      if (this.following.active) this.announcer.event("The stream that you follow has ended.", performance.now());
      else this.input.handleStreamEnd(end.reason);
      return;
    }
    this._endViewTime = this.clock.at(performance.now() / 1000);
    this.ended = true;
    this._estimateAt = NaN;
    this._freeze("ended");
    const reason = end.reason || "no reason given";
    this.notice.show(this.hello.input.kind === "recording" ? `${reason[0].toUpperCase()}${reason.slice(1)}.`
      : `The input has ended: ${reason}.`, "ended");
  }

  /** @param {import("./protocol.js").Estimate[]} estimates past ones, oldest first */
  _handleSnapshot(estimates) {
    let newest = null;
    for (const estimate of estimates) {
      this.connection.markSeen(estimate.seq);
      if (this.history.push(estimate, false, performance.now() / 1000)) newest = estimate;
    }
    if (!newest) return;
    this._show(newest);
    // A long history comes in several messages, the oldest first.
    this.valueDisplay.release();
  }

  /** @param {import("./protocol.js").Estimate} estimate a live one */
  _handleEstimate(estimate) {
    this.connection.markSeen(estimate.seq);
    if (this.history.push(estimate, true, performance.now() / 1000)) this._show(estimate);
  }

  /** @param {import("./protocol.js").Estimate} estimate the newest */
  _show(estimate) {
    const now = performance.now();
    this.clock.sync(this.history.newest, now / 1000);
    this.ended = false;
    this._reconnected = false;
    this._frozenBy = null;
    this._estimateAt = now;
    this.newest = estimate;
    // In a stall, only an engine that fails leaves a level.
    const engineFails = this._engineFails || estimate.level_db > NO_LEVEL_DB;
    this.announcer.engineFails = engineFails;
    this.valueDisplay.stall = engineFails ? "engine" : this._inputAway ? "input" : "audio";
    if (this.paused) return;
    this._showValues(estimate, now);
    this.announcer.estimate(estimate, now);
    // Estimates of what was sent before are on their way; they must not look live.
    if (this._soundIsAway) this._freeze("sound");
  }

  /**
   * @param {import("./protocol.js").Estimate} estimate the newest
   * @param {number} now milliseconds
   */
  _showValues(estimate, now) {
    this._shown = estimate;
    this.plane.show(estimate, this.hop / (this.hello?.speed ?? 1), now);
    this.personal.show(estimate);
    this.valueDisplay.show(estimate, this._style.palette, now);
    if (!this.target) return;
    const place = this.target.at(estimate.t);
    this.plane.setAim(place);
    element("aim", HTMLElement).hidden = false;
    // A target is on the scale that the server shows.
    const scale = this._showsOtherScale ? ", among music" : "";
    setText(element("aim-text", HTMLElement), targetLine(estimate.scaled ?? estimate, place) + scale);
  }

  /** Shows other values: those of now, and of all that the page keeps. */
  _changeRange() {
    this.history.rescale();
    this.timeline.rescale();
    this._setTarget();
    if (this._shown) this._showValues(this._shown, performance.now());
    if (this._frozenBy) this._freeze(this._frozenBy);
    this.announcer.event(`Values: ${RANGES[shownRange()]}.`, performance.now());
  }

  /** Whether this page shows the estimates of its own sound, and none comes for now. */
  get _soundIsAway() {
    return this.input.choice.phase === "waiting" && this.hello?.input.kind === "browser";
  }

  /** Whether the values shown are not on the scale of the server, which is that of a target. */
  get _showsOtherScale() {
    return this.hello?.range === "music" && shownRange() === "raw";
  }

  /** A target is drawn only over values of its own scale. */
  _setTarget() {
    const drawn = this._showsOtherScale ? null : this.target;
    this.plane.setTarget(drawn);
    this.timeline.setTarget(drawn, this.hello?.session ?? "");
  }

  /**
   * Says why the values shown are no longer current, until the next estimate.
   * @param {import("./headline.js").Cause} cause
   */
  _freeze(cause) {
    this._frozenBy = cause;
    this.valueDisplay.freeze(cause);
    this.plane.freeze();
  }

  /** @param {number} now milliseconds */
  _frame(now) {
    requestAnimationFrame((next) => this._frame(next));
    const before = this._last;
    this._last = now;
    const startedAt = performance.now();
    const elapsed = Number.isFinite(before) ? Math.min(0.25, (now - before) / 1000) : 0;
    if (this.stage?.active) return;
    const end = this.paused ? this.paused.end : this.history.end;
    const time = this.viewTime(now / 1000);
    const { word, isMood } = this.valueDisplay.headline;
    if (isMood) this.plane.setMood(word);
    this.plane.draw(elapsed, end, time, this.paused ? null : this.pulse.at(now));
    this.timeline.draw(time, end, this.valueDisplay.shown);
    this.timelineControls.draw();
    this.flags.draw();
    this.overlay?.draw(this.pulse.at(now), now);
    if (this._frameListener && Number.isFinite(before)) this._frameListener(performance.now() - startedAt, now - before);
  }

  /**
   * @param {number} local seconds
   * @returns {number} the server's time at the right edge of the timeline
   */
  viewTime(local) {
    if (this.paused) return this.paused.time;
    if (this.ended) return this._endViewTime;
    // Reduced motion: the timeline steps with the estimates.
    if (this.plane.reducedMotion && this.history.length) return this.history.newest;
    return this.clock.at(local) - this.hop - VIEW_DELAY_S * (this.hello?.speed ?? 1);
  }

  /** Updates the texts that depend on the clock and not on an estimate. */
  _tick() {
    const now = performance.now();
    this.status.link(this.connection.phase, now);
    this.status.health(this.health, this.input.droppedSeconds);
    this.panel.tick();
    this.timelineControls.tick();
    this.comparison.tick();
    this.announcer.tick(now);
    this.idleControls.tick(now);
    this.valueDisplay.tick(this._style.palette, now);
    this._checkFreshness(now);
    this.overlay?.tick(this.valueDisplay.headline, this.newest);
    const unseen = element("unseen", HTMLElement);
    unseen.hidden = !this.paused;
    element("legend", HTMLElement).hidden = this.paused !== null;
    if (this.paused) setText(unseen, `paused · ${this.history.end - this.paused.end} new while paused`);
  }

  /**
   * A server whose engine hangs stays connected and sends no estimates: its last values must not look live.
   * @param {number} now milliseconds
   */
  _checkFreshness(now) {
    // After a pause of the page itself, estimates may be on their way.
    const late = now - this._tickedAt > 1000;
    this._tickedAt = now;
    const limit = this._slow ? STALE_WHILE_SLOW_MS : Math.max(STALE_MS, 2000 * this.hop);
    if (late || !(now - this._estimateAt > limit)) return;
    this._estimateAt = NaN;
    if (this.paused || this.ended || this.input.choice.phase === "waiting") return;
    this._freeze("estimates");
    this.announcer.event("No new estimates arrive.", now);
  }

  togglePause() {
    const now = performance.now() / 1000;
    this.paused = this.paused ? null : { end: this.history.end, time: this.viewTime(now) };
    const button = element("pause", HTMLButtonElement);
    button.setAttribute("aria-pressed", String(this.paused !== null));
    setText(element("pause-text", HTMLElement), this.paused ? "Resume" : "Pause");
    element("pause-icon", SVGUseElement).setAttribute("href", this.paused ? "#i-play" : "#i-pause");
    this.announcer.event(this.paused ? "View paused." : "View running.", now * 1000);
    if (!this.paused && this.newest) {
      this._showValues(this.newest, now * 1000);
      if (this._frozenBy) this._freeze(this._frozenBy);
    }
    this._tick();
  }

  export() {
    if (!this.history.length) {
      this.notice.show("There is nothing to save yet: no estimate has arrived.", "export");
      return;
    }
    download(this.history);
    const { oldest, oldestExact } = this.history;
    const left = oldestExact - oldest;
    if (left > 1) {
      this.notice.show(`Saved the newest ${counted(this.history.length, "estimate")}. The page keeps the ${span(left)} before `
        + "them by the second only, and they are not in the file: for all of them, record with --record.", "export");
    }
    this.announcer.event(`Saved ${counted(this.history.length, "estimate")}.`, performance.now());
  }

  toggleFullScreen() {
    const change = document.fullscreenElement
      ? document.exitFullscreen()
      : document.documentElement.requestFullscreen();
    change.catch(() => this.notice.show("This browser did not allow full screen here.", "full"));
  }

  /** Enters stage mode in full screen, where the browser has it. */
  openStage() {
    if (document.fullscreenEnabled && !document.fullscreenElement) this.toggleFullScreen();
    void this.enterStage();
  }

  /**
   * Shows the music as a picture over the whole window. Its code is loaded here, and not before.
   * @param {string} [scene] its name
   */
  async enterStage(scene) {
    try {
      this._stageComes ??= import("./stage.js").then(({ makeStage }) => makeStage(this));
      this.stage = await this._stageComes;
      if (this.connection.phase.name !== "locked") this.stage.enter(scene);
    } catch (error) {
      this._stageComes = null;
      this.notice.show(`Stage mode did not load: ${/** @type {Error} */ (error).message}.`, "stage");
    }
  }

  /** Whether estimates arrive. */
  get isLive() {
    return this.connection.phase.name === "open" && !this.ended && Number.isFinite(this._estimateAt);
  }

  help() {
    element("help", HTMLDialogElement).showModal();
  }

  /** @param {number} seconds length of the timeline; Infinity for the whole history */
  setZoom(seconds) {
    this.timelineControls.setLength(seconds);
  }
}

/** @type {any} */ (window).mer = new App();
