/**
 * Keeps the websocket connected: checks every message, reconnects with back-off, requests missed estimates and
 * detects a silent server. Reports by events; draws nothing.
 *
 *     connecting -> open -> waiting -> connecting -> ...
 *                             \-> gone (after many failures; it keeps trying)
 *
 * Events: "phase" (detail: Phase), "message" (detail: Message), "invalid" (detail: string, the fault), "refused"
 * (detail: string, the server's reason for refusing the websocket).
 */

import { Backoff } from "./backoff.js";
import { PING_MESSAGE, parseMessage, refusalUrl, socketUrl } from "./protocol.js";
import { clean } from "./text.js";

/** Seconds without any message after which to send a ping, and to treat the connection as lost. The server
 *  sends its health every two seconds. */
const PING_AFTER_S = 8;
const LOST_AFTER_S = 14;

/** Close code of a full server: wait longer than after other losses. */
export const TRY_AGAIN_LATER = 1013;

/** Failed attempts after which to ask for the reason: a restart of the server causes one or two. */
const ASK_AFTER_FAILURES = 3;

/**
 * @typedef {object} Phase
 * @property {"connecting"|"open"|"waiting"|"gone"|"closed"} name
 * @property {number} retryAt   clock time (ms) of the next attempt, if one is planned
 * @property {number} code      close code of the previous connection, 0 if there was none
 * @property {string} reason    the server's reason for closing, may be empty
 *
 * @typedef {object} Clock
 * @property {() => number} now
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 *
 * @typedef {object} Options
 * @property {string} base                       URL of the page
 * @property {new (url: string) => WebSocket} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 * @property {(url: string) => Promise<Response>} [fetch]
 */

/** @type {Clock} */
const REAL_CLOCK = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class Connection extends EventTarget {
  /** @param {Options} options */
  constructor({ base, WebSocket: Socket = WebSocket, clock = REAL_CLOCK, random = Math.random,
                fetch: get = (url) => fetch(url) }) {
    super();
    this._base = base;
    this._Socket = Socket;
    this._clock = clock;
    this._fetch = get;
    this._backoff = new Backoff(random);
    /** @type {WebSocket|null} */
    this._socket = null;
    /** @type {unknown} */
    this._timer = null;
    this._receivedAt = 0;
    this._pinged = false;
    /** The shown session and its newest `seq`. @type {{session: string, seq: number}|null} */
    this.resume = null;
    /** @type {Phase} */
    this.phase = { name: "closed", retryAt: 0, code: 0, reason: "" };
  }

  open() {
    if (this._socket) return;
    this._clearTimer();
    this._setPhase({ ...this.phase, name: "connecting", retryAt: 0 });
    const socket = new this._Socket(socketUrl(this._base, this.resume));
    socket.binaryType = "arraybuffer";
    this._socket = socket;
    this._receivedAt = this._clock.now();
    socket.onopen = () => {
      if (socket !== this._socket) return;
      this._receivedAt = this._clock.now();
      this._watchSilence();
      this._setPhase({ name: "open", retryAt: 0, code: 0, reason: "" });
    };
    socket.onmessage = (event) => {
      if (socket === this._socket) this._receive(event.data);
    };
    socket.onclose = (event) => {
      if (socket === this._socket) this._handleLoss(event.code, event.reason);
    };
    // Each error event is followed by a close event with more detail.
    socket.onerror = () => {};
  }

  /** Closes the connection; it is not reopened. */
  close() {
    this._clearTimer();
    this._discardSocket();
    this._setPhase({ name: "closed", retryAt: 0, code: 0, reason: "" });
  }

  /** Connects at once if an attempt is only planned. */
  retryNow() {
    if (this._socket || this.phase.name === "closed") return;
    this.open();
  }

  get isOpen() {
    return this._socket !== null && this._socket.readyState === 1;
  }

  /** Bytes queued in the socket and not yet sent. */
  get bufferedAmount() {
    return this._socket ? this._socket.bufferedAmount : 0;
  }

  /**
   * @param {string|ArrayBuffer} data
   * @returns {boolean} whether the connection was open
   */
  send(data) {
    if (!this.isOpen || !this._socket) return false;
    this._socket.send(data);
    return true;
  }

  /** @param {unknown} data */
  _receive(data) {
    this._receivedAt = this._clock.now();
    this._pinged = false;
    if (typeof data !== "string") return;
    let message;
    try {
      message = parseMessage(data);
    } catch (error) {
      this.dispatchEvent(new CustomEvent("invalid", { detail: String(/** @type {Error} */ (error).message) }));
      return;
    }
    if (!message) return;
    // An accepted connection is not yet a success: only a hello resets the back-off.
    if (message.type === "hello") {
      this._backoff.reset();
      if (this.resume?.session !== message.session) this.resume = { session: message.session, seq: -1 };
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /**
   * Stores the newest received `seq`, for the next resume.
   * @param {number} seq
   */
  markSeen(seq) {
    if (this.resume && seq > this.resume.seq) this.resume.seq = seq;
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  _handleLoss(code, reason) {
    const refused = this.phase.name === "connecting";
    this._clearTimer();
    this._discardSocket();
    let wait = this._backoff.next();
    if (code === TRY_AGAIN_LATER) wait = Math.max(wait, 5);
    const name = this._backoff.exhausted ? "gone" : "waiting";
    this._timer = this._clock.setTimeout(() => {
      this._timer = null;
      this.open();
    }, wait * 1000);
    this._setPhase({ name, retryAt: this._clock.now() + wait * 1000, code, reason });
    if (refused && this._backoff.failures >= ASK_AFTER_FAILURES) void this._askForReason();
  }

  /** Browsers do not show a page why its websocket was refused. The server says it to a plain request. */
  async _askForReason() {
    try {
      const response = await this._fetch(refusalUrl(this._base));
      const own = response.status >= 400 && response.headers.get("Content-Type")?.startsWith("text/plain");
      const reason = own ? clean(await response.text(), 300) : "";
      if (reason && !this.isOpen) this.dispatchEvent(new CustomEvent("refused", { detail: reason }));
    } catch {
      // The server cannot be reached at all, which the phase shows.
    }
  }

  /** A half-open connection never closes by itself: ping, and treat it as lost without a reply. */
  _watchSilence() {
    this._timer = this._clock.setTimeout(() => {
      this._timer = null;
      if (!this._socket) return;
      const silentFor = (this._clock.now() - this._receivedAt) / 1000;
      if (silentFor >= LOST_AFTER_S) {
        this._handleLoss(1006, "");
        return;
      }
      if (silentFor >= PING_AFTER_S && !this._pinged && this.send(PING_MESSAGE)) this._pinged = true;
      this._watchSilence();
    }, 1000);
  }

  _discardSocket() {
    const socket = this._socket;
    this._socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState <= 1) socket.close();
  }

  _clearTimer() {
    if (this._timer !== null) this._clock.clearTimeout(this._timer);
    this._timer = null;
  }

  /** @param {Phase} phase */
  _setPhase(phase) {
    this.phase = phase;
    this.dispatchEvent(new CustomEvent("phase", { detail: phase }));
  }
}
