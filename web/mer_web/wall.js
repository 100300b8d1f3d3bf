/**
 * The page /wall: up to nine streams of this server at a glance, for those who may see them all. One connection brings
 * the list once a second; each tile leads to the main page, which shows its stream whole.
 */

import { Announcer } from "./announcer.js";
import { readCanvasStyle } from "./canvas-style.js";
import { Connection } from "./connection.js";
import { element, setData, setText } from "./dom.js";
import { Gate } from "./gate.js";
import { sessionsMessage } from "./protocol.js";
import { Shortcuts } from "./shortcuts.js";
import { linkLine } from "./status.js";
import { clean, counted, signed, span } from "./text.js";
import { Theme } from "./theme.js";
import { meterShare } from "./value-display.js";
import { RANGES, readRange, setHasMusic, shownRange, shownValues } from "./value-range.js";
import { MAX_TILES, WallTiles } from "./wall-tiles.js";
import { WallPlane } from "./wall-plane.js";

/** A newest estimate of this age needs no words, in seconds. */
const FRESH_S = 3;

/** @typedef {import("./wall-tiles.js").Stream} Stream */

/** A stream on the page. */
class Tile {
  /** @param {string} session */
  constructor(session) {
    const template = element("tile", HTMLTemplateElement).content.cloneNode(true);
    this.node = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (template).firstElementChild);
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (this.node.querySelector(`.tile-${name}`));
    this._link = /** @type {HTMLAnchorElement} */ (this.node.querySelector("a"));
    this._link.href = `./?session=${encodeURIComponent(session)}`;
    this._parts = {
      name: part("name"), kind: part("kind"), word: part("word"), line: part("line"), valence: part("valence"),
      arousal: part("arousal"), fill: part("fill"), age: part("age"),
    };
    this.plane = new WallPlane(/** @type {HTMLCanvasElement} */ (part("plane")));
  }

  /**
   * @param {Stream} stream
   * @param {import("./palette.js").Palette} palette
   * @param {number} now milliseconds
   */
  show(stream, palette, now) {
    const { estimate, headline } = stream;
    const parts = this._parts;
    setText(parts.name, stream.label);
    const rate = stream.sampleRate ? ` · ${Math.round(stream.sampleRate / 100) / 10} kHz` : "";
    setText(parts.kind, `${stream.own ? "this server" : "sent here"}${rate}`);
    setText(parts.word, headline.word);
    setText(parts.line, headline.line);
    setData(this.node, "state", headline.state);
    setData(this.node, "live", stream.live ? "yes" : "no");
    const age = (now - stream.heardAt) / 1000;
    setText(parts.age, !estimate ? "" : age < FRESH_S && !stream.ended ? `for ${span(stream.uptime)}` : `${span(age)} ago`);
    if (!estimate) return;
    const { valence, arousal } = shownValues(estimate);
    setText(parts.valence, signed(valence));
    setText(parts.arousal, signed(arousal));
    parts.fill.style.transform = `scaleX(${stream.live ? meterShare(estimate.level_db).toFixed(3) : 0})`;
    this.colour(stream, palette);
  }

  /**
   * @param {Stream} stream
   * @param {import("./palette.js").Palette} palette
   */
  colour({ estimate }, palette) {
    if (!estimate) return;
    const { valence, arousal } = shownValues(estimate);
    this.node.style.setProperty("--place", palette.css(valence, arousal));
    this.node.style.setProperty("--word", palette.ink(valence, arousal));
  }
}

class Wall {
  constructor() {
    readRange(location.search);
    this.tiles = new WallTiles();
    /** @type {Map<string, Tile>} */
    this._nodes = new Map();
    this._grid = element("tiles", HTMLElement);
    this._vacant = element("vacant", HTMLElement);
    this._list = element("list", HTMLDialogElement);
    const spoken = element("spoken", HTMLElement);
    this._announcer = new Announcer((text) => setText(spoken, text));
    this.connection = new Connection({ base: document.baseURI });
    this._gate = new Gate((token) => this.connection.unlock(token));
    this._role = "";
    this._refusal = "";
    /** Whether a list has come: what comes later is news. */
    this._listed = false;
    this._last = NaN;
    this._reduced = matchMedia("(prefers-reduced-motion: reduce)");
    /** @type {import("./canvas-style.js").CanvasStyle|null} */
    this._style = null;
    this._theme = new Theme(document.documentElement, () => this._restyle());
    this._restyle();
    this._listen();
    this.connection.open();
    requestAnimationFrame((now) => this._frame(now));
    setInterval(() => this._tick(), 1000);
  }

  _restyle() {
    if (!this._nodes) return;
    this._style = readCanvasStyle(document.documentElement);
    for (const [session, tile] of this._nodes) {
      const stream = this.tiles.streams.get(session);
      tile.plane.setStyle(this._style);
      if (stream) tile.colour(stream, this._style.palette);
    }
  }

  _listen() {
    const { connection } = this;
    connection.addEventListener("phase", () => {
      const { phase } = connection;
      if (phase.name === "open") {
        this._refusal = "";
        this._gate.hide();
      }
      if (phase.name === "locked") this._gate.show(phase.reason && `The server did not accept the token: ${phase.reason}.`);
      if (phase.name === "waiting" && this._listed) this._announcer.event("Connection lost, reconnecting.", performance.now());
      this._gate.setBusy(phase.name === "connecting");
      this._tick();
    });
    connection.addEventListener("message", (event) => this._receive(/** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("refused", (event) => {
      this._refusal = `The server refuses this page: ${/** @type {CustomEvent} */ (event).detail}.`;
      this._tick();
    });
    for (const name of ["online", "focus"]) addEventListener(name, () => connection.wake());
    addEventListener("pagehide", () => connection.close());
    addEventListener("pageshow", (event) => {
      if (event.persisted) connection.open();
    });
    element("retry", HTMLButtonElement).addEventListener("click", () => connection.retryNow());
    element("theme", HTMLButtonElement).addEventListener("click", () => this._theme.toggle());
    const full = element("full", HTMLButtonElement);
    full.hidden = !document.fullscreenEnabled;
    full.addEventListener("click", () => this._toggleFullScreen());
    element("choose", HTMLButtonElement).addEventListener("click", () => {
      this._showChoices();
      this._list.showModal();
    });
    new Shortcuts({ t: () => this._theme.toggle(), f: () => this._toggleFullScreen() });
  }

  _toggleFullScreen() {
    const change = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
    change.catch(() => {});  // some embedded browsers do not allow it
  }

  /** @param {import("./protocol.js").Message} message */
  _receive(message) {
    if (message.type === "hello") {
      this._role = message.role;
      setHasMusic(message.range !== "raw");
      if (message.role === "control") this.connection.send(sessionsMessage(true));
      this._tick();
    } else if (message.type === "sessions") {
      const now = performance.now();
      const { joined, ended } = this.tiles.update(message, now);
      if (this._listed) {
        for (const stream of joined) this._announcer.event(`${stream.label} has come.`, now);
        for (const stream of ended) this._announcer.event(`${stream.label} has ended.`, now);
      }
      this._listed = true;
      this._show();
    } else if (message.type === "error") {
      this._refusal = `${message.message}.`;
      this._tick();
    }
  }

  _show() {
    const now = performance.now();
    const { palette } = /** @type {import("./canvas-style.js").CanvasStyle} */ (this._style);
    const { shown, more, total } = this.tiles;
    for (const [session, tile] of this._nodes) {
      if (shown.some((stream) => stream.session === session)) continue;
      tile.node.remove();
      this._nodes.delete(session);
    }
    shown.forEach((stream, place) => {
      let tile = this._nodes.get(stream.session);
      if (!tile) {
        tile = new Tile(stream.session);
        if (this._style) tile.plane.setStyle(this._style);
        this._nodes.set(stream.session, tile);
      }
      // Moving a node would take the keyboard's focus from it.
      if (this._grid.children[place] !== tile.node) this._grid.insertBefore(tile.node, this._grid.children[place] ?? null);
      tile.show(stream, palette, now);
      tile.plane.show(stream, this._reduced.matches);
    });
    setData(this._grid, "count", String(shown.length));
    setText(element("count", HTMLElement), `${counted(total, "stream")}${more ? ` · ${more} not shown` : ""} · values ${RANGES[shownRange()]}`);
    const choose = element("choose", HTMLButtonElement);
    choose.hidden = this.tiles.streams.size < 2;
    setText(choose, more ? `+${more} more` : "Streams");
    if (this._list.open) this._showChoices();
    this._tick();
  }

  _showChoices() {
    const list = element("choices", HTMLElement);
    const { streams, shown, hasRoom } = this.tiles;
    for (const item of [...list.children]) {
      if (!streams.has(/** @type {HTMLElement} */ (item).dataset.session ?? "")) item.remove();
    }
    for (const stream of streams.values()) {
      let item = /** @type {HTMLElement|undefined} */ (
        [...list.children].find((each) => /** @type {HTMLElement} */ (each).dataset.session === stream.session));
      if (!item) item = this._addChoice(list, stream);
      const box = /** @type {HTMLInputElement} */ (item.querySelector("input"));
      box.checked = shown.includes(stream);
      box.disabled = !box.checked && !hasRoom;
      setText(/** @type {Element} */ (item.querySelector(".choice-word")), stream.headline.word);
    }
    const room = hasRoom ? "" : ` ${MAX_TILES} fit: take one away to see another.`;
    setText(element("list-note", HTMLElement), `Those with a mark have a tile.${room}`);
  }

  /**
   * @param {HTMLElement} list
   * @param {Stream} stream
   * @returns {HTMLElement}
   */
  _addChoice(list, stream) {
    const item = document.createElement("li");
    item.dataset.session = stream.session;
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      this.tiles.choose(stream.session, box.checked);
      this._show();
    });
    const name = document.createElement("span");
    name.textContent = stream.label;
    const word = document.createElement("span");
    word.className = "choice-word";
    label.append(box, name, word);
    item.append(label);
    list.append(item);
    return item;
  }

  /** Updates what depends on the clock and on the connection. */
  _tick() {
    const now = performance.now();
    const { phase } = this.connection;
    const link = element("link", HTMLElement);
    setData(link, "phase", phase.name);
    setText(element("link-text", HTMLElement), linkLine(phase, now));
    element("retry", HTMLButtonElement).hidden = phase.name !== "waiting" && phase.name !== "gone";
    this._announcer.tick(now);
    const allowed = this._role === "control";
    const shows = this._listed && allowed && phase.name !== "locked" && this.tiles.shown.length > 0;
    this._grid.hidden = !shows;
    this._vacant.hidden = shows || phase.name === "locked";
    setData(this._grid, "lost", phase.name === "open" ? "no" : "yes");
    setText(this._vacant, this._vacantText());
  }

  /** @returns {string} why there are no tiles */
  _vacantText() {
    const { phase } = this.connection;
    if (this._refusal) return clean(this._refusal, 400);
    if (phase.name !== "open") return phase.name === "connecting" ? "Connecting …" : `No server: ${linkLine(phase, performance.now())}.`;
    if (this._role !== "control") {
      return "Your token or link allows to watch one stream, on the main page. The wall shows those of everyone: ask the operator for a token for control.";
    }
    return this._listed ? "All streams are off the wall. Choose some with the button Streams." : "Waiting for the streams …";
  }

  /** @param {number} now milliseconds */
  _frame(now) {
    requestAnimationFrame((next) => this._frame(next));
    const elapsed = Number.isFinite(this._last) ? Math.min(0.25, (now - this._last) / 1000) : 0;
    this._last = now;
    for (const tile of this._nodes.values()) tile.plane.draw(elapsed);
  }

  /** Where each point is drawn now, for tests. */
  get points() {
    return [...this._nodes.values()].map((tile) => tile.plane.shown);
  }
}

/** @type {any} */ (window).wall = new Wall();
