/**
 * The websocket, kept alive: connects, checks every message, reconnects with back-off, asks for what was
 * missed, and notices a server that went silent. Says what happens by events; draws nothing.
 *
 *     connecting -> open -> waiting -> connecting -> ...
 *                             \-> gone (many failures; it goes on trying)
 *
 * Events: "phase" (detail: Phase), "message" (detail: Message), "bad" (detail: string).
 */

import { Backoff } from "./backoff.js";
import { PING_MESSAGE, parseMessage, socketUrl } from "./protocol.js";

/** Seconds without any message after which the server is asked whether it lives, and given up. The server
 *  tells its health every two seconds. */
const QUIET_S = 8;
const DEAD_S = 14;

/** Close codes that mean "not now": waiting is the right answer, half a second is not. */
const TRY_LATER = 1013;

/**
 * @typedef {object} Phase
 * @property {"connecting"|"open"|"waiting"|"gone"|"closed"} name
 * @property {number} retryAt   clock time (ms) of the next try, where one is planned
 * @property {number} code      close code of the connection before, 0 where there was none
 * @property {string} reason    the server's own words, where it gave any
 *
 * @typedef {object} Clock
 * @property {() => number} now
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 *
 * @typedef {object} Options
 * @property {string} base                       address of the page
 * @property {new (url: string) => WebSocket} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 */

/** @type {Clock} */
const REAL_CLOCK = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class Connection extends EventTarget {
  /** @param {Options} options */
  constructor({ base, WebSocket: Socket = WebSocket, clock = REAL_CLOCK, random = Math.random }) {
    super();
    this._base = base;
    this._Socket = Socket;
    this._clock = clock;
    this._backoff = new Backoff(random);
    /** @type {WebSocket|null} */
    this._socket = null;
    /** @type {unknown} */
    this._timer = null;
    this._heard = 0;
    this._asked = false;
    /** The stream that is being shown and the last estimate of it. @type {{session: string, seq: number}|null} */
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
    this._heard = this._clock.now();
    socket.onopen = () => {
      if (socket !== this._socket) return;
      this._heard = this._clock.now();
      this._watch();
      this._setPhase({ name: "open", retryAt: 0, code: 0, reason: "" });
    };
    socket.onmessage = (event) => {
      if (socket === this._socket) this._receive(event.data);
    };
    socket.onclose = (event) => {
      if (socket === this._socket) this._lost(event.code, event.reason);
    };
    // A close event follows each error event and says more.
    socket.onerror = () => {};
  }

  /** Ends the connection for good. */
  close() {
    this._clearTimer();
    this._drop();
    this._setPhase({ name: "closed", retryAt: 0, code: 0, reason: "" });
  }

  /** Tries at once where a try is only planned. */
  retryNow() {
    if (this._socket || this.phase.name === "closed") return;
    this.open();
  }

  get isOpen() {
    return this._socket !== null && this._socket.readyState === 1;
  }

  /** Bytes given to the socket and not yet sent. */
  get bufferedAmount() {
    return this._socket ? this._socket.bufferedAmount : 0;
  }

  /**
   * @param {string|ArrayBuffer} data
   * @returns {boolean} whether there was a connection to give it to
   */
  send(data) {
    if (!this.isOpen || !this._socket) return false;
    this._socket.send(data);
    return true;
  }

  /** @param {unknown} data */
  _receive(data) {
    this._heard = this._clock.now();
    this._asked = false;
    if (typeof data !== "string") return;
    let message;
    try {
      message = parseMessage(data);
    } catch (error) {
      this.dispatchEvent(new CustomEvent("bad", { detail: String(/** @type {Error} */ (error).message) }));
      return;
    }
    if (!message) return;
    // A connection that brings nothing is not yet a success: only a hello ends the back-off.
    if (message.type === "hello") {
      this._backoff.reset();
      if (this.resume?.session !== message.session) this.resume = { session: message.session, seq: -1 };
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /**
   * Remembers how far the stream was seen, for the next resume.
   * @param {number} seq
   */
  seen(seq) {
    if (this.resume && seq > this.resume.seq) this.resume.seq = seq;
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  _lost(code, reason) {
    this._clearTimer();
    this._drop();
    let wait = this._backoff.next();
    if (code === TRY_LATER) wait = Math.max(wait, 5);
    const name = this._backoff.exhausted ? "gone" : "waiting";
    this._timer = this._clock.setTimeout(() => {
      this._timer = null;
      this.open();
    }, wait * 1000);
    this._setPhase({ name, retryAt: this._clock.now() + wait * 1000, code, reason });
  }

  /** A half-open connection never closes by itself: ask, and give up where no answer comes. */
  _watch() {
    this._timer = this._clock.setTimeout(() => {
      this._timer = null;
      if (!this._socket) return;
      const quiet = (this._clock.now() - this._heard) / 1000;
      if (quiet >= DEAD_S) {
        this._lost(1006, "");
        return;
      }
      if (quiet >= QUIET_S && !this._asked && this.send(PING_MESSAGE)) this._asked = true;
      this._watch();
    }, 1000);
  }

  _drop() {
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
