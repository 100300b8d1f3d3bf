/**
 * Keeps the websocket connected: checks every message, reconnects with back-off, requests missed estimates, shows the
 * token of this tab and detects a silent server. Reports by events; draws nothing.
 *
 *     connecting -> open -> waiting -> connecting -> ...
 *              |              \-> gone (after many failures; it keeps trying)
 *              \-> locked (the server asks for a token; it waits for `unlock`)
 *
 * A server that goes away says so first. The old connection then serves until a new one has been let in, perhaps by
 * another server behind the same address: the phase stays open, and is told once more.
 *
 * Events: "phase" (detail: Phase), "message" (detail: Message), "invalid" (detail: ProtocolError), "refused"
 * (detail: string, the server's reason for refusing the websocket).
 */

import { Backoff } from "./backoff.js";
import { PING_MESSAGE, authMessage, healthUrl, parseMessage, refusalUrl, socketUrl } from "./protocol.js";
import { dropToken, loadToken, saveToken } from "./settings.js";
import { clean } from "./text.js";

/** Seconds without any message after which to send a ping, and to treat the connection as lost. The server
 *  sends its health every two seconds. */
const PING_AFTER_S = 8;
const LOST_AFTER_S = 14;

/** A server that lets the page in says hello at once. After this time, ask whether it waits for a token. */
const HELLO_MS = 300;

/** A timer that is late by so much: the computer slept, and the connection may be dead without a word. */
const ASLEEP_MS = 5000;
/** Time for the answer of the server after that. */
const ANSWER_MS = 3000;

/** Close codes of a full server, and of one that this page or its network has asked for too much. */
export const TRY_AGAIN_LATER = 1013;
export const POLICY_VIOLATION = 1008;
/** Seconds to wait at least after these. @type {Record<number, number>} */
const LEAST_WAIT_S = { [TRY_AGAIN_LATER]: 5, [POLICY_VIOLATION]: 30 };
/** The longest wait that a server may ask for. */
const MOST_WAIT_S = 600;

/** Error code, and reason of the close, where a token is missing or wrong. */
const UNAUTHORIZED = "unauthorized";

/** The pages of a server that goes away spread over this time, in seconds. */
const MOVE_SPREAD_S = 1;

/** Failed attempts after which to ask for the reason: a restart of the server causes one or two. */
const ASK_AFTER_FAILURES = 3;

/**
 * @typedef {object} Phase
 * @property {"connecting"|"open"|"waiting"|"gone"|"locked"|"closed"} name  open: the server has said hello
 * @property {number} retryAt   clock time (ms) of the next attempt, if one is planned
 * @property {number} code      close code of the previous connection, 0 if there was none
 * @property {string} reason    the server's reason for closing, or for refusing a token; may be empty
 *
 * @typedef {object} Clock      times in milliseconds
 * @property {() => number} now   runs evenly, but may stand still while the computer sleeps
 * @property {() => number} wall  the time of day, which may be set
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
  wall: () => Date.now(),
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
    this._random = random;
    this._backoff = new Backoff(random);
    /** @type {string|null} */
    this._token = loadToken();
    /** @type {WebSocket|null} */
    this._socket = null;
    /** The connection that is to replace an open one. @type {WebSocket|null} */
    this._successor = null;
    /** @type {unknown} */
    this._timer = null;
    /** @type {unknown} */
    this._moveTimer = null;
    this._receivedAt = 0;
    this._pinged = false;
    /** Whether the server took the websocket of this attempt. */
    this._accepted = false;
    /** Clock time of the last moment for the pong that was asked for after a sleep. */
    this._answerBy = Infinity;
    /** The shown session and its newest `seq`. @type {{session: string, seq: number}|null} */
    this.resume = null;
    /** @type {Phase} */
    this.phase = { name: "closed", retryAt: 0, code: 0, reason: "" };
  }

  open() {
    if (this._socket) return;
    this._clearTimer();
    this._setPhase({ ...this.phase, name: "connecting", retryAt: 0 });
    const socket = this._dial();
    this._accepted = false;
    this._use(socket);
    socket.onopen = () => {
      if (socket !== this._socket) return;
      this._accepted = true;
      this._receivedAt = this._clock.now();
      if (this._token) socket.send(authMessage(this._token));
      else this._askIfNoHello(socket);
    };
  }

  /** @returns {WebSocket} */
  _dial() {
    const socket = new this._Socket(socketUrl(this._base, this.resume));
    socket.binaryType = "arraybuffer";
    return socket;
  }

  /** @param {WebSocket} socket that messages come from and go to from now on */
  _use(socket) {
    this._socket = socket;
    this._answerBy = Infinity;
    this._receivedAt = this._clock.now();
    this._watchSilence();
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
    this._discardSocket();
    this._setPhase({ name: "closed", retryAt: 0, code: 0, reason: "" });
  }

  /** Connects at once if an attempt is only planned. */
  retryNow() {
    if (["waiting", "gone"].includes(this.phase.name)) this.open();
  }

  /** Checks a connection that may be dead without a word: the computer slept, or the network is another one. */
  wake() {
    if (this.isOpen) {
      if (this._answerBy !== Infinity || !this.send(PING_MESSAGE)) return;
      this._pinged = true;
      this._answerBy = this._clock.now() + ANSWER_MS;
    } else if (this.phase.code !== POLICY_VIOLATION) {
      this.retryNow();
    }
  }

  /**
   * Connects with a token, which is kept in this tab once the server accepts it.
   * @param {string} token
   */
  unlock(token) {
    this._token = token;
    this._discardSocket();
    this.open();
  }

  /** Forgets the token and connects without one. */
  forget() {
    this._token = null;
    dropToken();
    this._discardSocket();
    this.open();
  }

  /** Whether this tab has a token. */
  get hasToken() {
    return this._token !== null;
  }

  get isOpen() {
    return this.phase.name === "open" && this._socket !== null && this._socket.readyState === 1;
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
      this.dispatchEvent(new CustomEvent("invalid", { detail: error }));
      return;
    }
    if (!message) return;
    if (message.type === "pong") this._answerBy = Infinity;
    if (message.type === "error" && message.code === UNAUTHORIZED) {
      this._lock(message.message);
      return;
    }
    if (message.type === "going_away") {
      this._moveIn(Math.min(MOVE_SPREAD_S, message.closes_in_s / 2) * this._random(), new Backoff(this._random));
      return;
    }
    // An accepted connection is not yet a success: only a hello resets the back-off.
    if (message.type === "hello") {
      this._backoff.reset();
      if (this.resume?.session !== message.session) this.resume = { session: message.session, seq: -1 };
      if (this.phase.name !== "open") {
        if (this._token) saveToken(this._token);
        this._setPhase({ name: "open", retryAt: 0, code: 0, reason: "" });
      }
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /**
   * Connects anew, while the old connection still serves.
   * @param {number} wait in seconds
   * @param {Backoff} backoff waits where nobody else answers
   */
  _moveIn(wait, backoff) {
    this._dropSuccessor();
    this._moveTimer = this._clock.setTimeout(() => {
      const socket = this._dial();
      this._successor = socket;
      socket.onopen = () => {
        if (this._token) socket.send(authMessage(this._token));
      };
      socket.onmessage = (event) => this._moveTo(socket, event.data, backoff);
      socket.onclose = () => this._moveIn(backoff.next(), backoff);
      socket.onerror = () => {};
    }, wait * 1000);
  }

  /**
   * @param {WebSocket} socket
   * @param {unknown} data its first message: a hello, or a refusal
   * @param {Backoff} backoff
   */
  _moveTo(socket, data, backoff) {
    if (!isHello(data)) {
      this._moveIn(backoff.next(), backoff);
      return;
    }
    this._successor = null;
    this._discardSocket();
    this._use(socket);
    this._setPhase({ name: "open", retryAt: 0, code: 0, reason: "" });
    this._receive(data);
  }

  _dropSuccessor() {
    if (this._moveTimer !== null) this._clock.clearTimeout(this._moveTimer);
    this._moveTimer = null;
    if (this._successor) hangUp(this._successor);
    this._successor = null;
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
    if (code === POLICY_VIOLATION && reason === UNAUTHORIZED) {
      this._lock("");
      return;
    }
    const refused = !this._accepted;
    this._discardSocket();
    const least = (LEAST_WAIT_S[code] ?? 0) * (0.75 + 0.25 * this._random());
    this._openIn(Math.max(this._backoff.next(), least), code, reason);
    // A token that was just entered may be refused: say so at once.
    const patience = this._token ? 1 : ASK_AFTER_FAILURES;
    if (refused && this._backoff.failures >= patience) void this._askForReason();
  }

  /**
   * Plans the next attempt.
   * @param {number} wait in seconds
   * @param {number} code
   * @param {string} reason
   */
  _openIn(wait, code, reason) {
    this._clearTimer();
    this._timer = this._clock.setTimeout(() => {
      this._timer = null;
      this.open();
    }, wait * 1000);
    const name = this._backoff.exhausted ? "gone" : "waiting";
    this._setPhase({ name, retryAt: this._clock.now() + wait * 1000, code, reason });
  }

  /**
   * Stops connecting until a token is entered.
   * @param {string} reason why the token was refused; empty if there was none
   */
  _lock(reason) {
    const tried = this._token !== null;
    this._token = null;
    dropToken();
    this._discardSocket();
    this._setPhase({ name: "locked", retryAt: 0, code: POLICY_VIOLATION,
                     reason: tried ? reason || "it is not one of this server's" : "" });
  }

  /**
   * A server that waits for a token says nothing on the websocket; it says so to a plain request.
   * @param {WebSocket} socket
   */
  _askIfNoHello(socket) {
    this._clearTimer();
    this._timer = this._clock.setTimeout(() => {
      if (this.phase.name !== "open") void this._askForToken(socket);
      this._watchSilence();
    }, HELLO_MS);
  }

  /** @param {WebSocket} socket */
  async _askForToken(socket) {
    try {
      const response = await this._fetch(healthUrl(this._base));
      const { token } = await response.json();
      if (token === "required" && socket === this._socket && !this.isOpen) this._lock("");
    } catch {
      // Not from this server, or it cannot be reached: after a few seconds the websocket ends.
    }
  }

  /** Browsers do not show a page why its websocket was refused. The server says it to a plain request. */
  async _askForReason() {
    try {
      const response = await this._fetch(refusalUrl(this._base));
      const { status, headers } = response;
      const own = status >= 400 && headers.get("Content-Type")?.startsWith("text/plain");
      const reason = own ? clean(await response.text(), 300) : "";
      if (!reason || !["connecting", "waiting", "gone"].includes(this.phase.name)) return;
      if (status === 401) {
        this._lock(reason);
        return;
      }
      if (status === 429) {
        this._discardSocket();
        const wait = Math.max(Number(headers.get("Retry-After")) || 0, LEAST_WAIT_S[POLICY_VIOLATION]);
        this._openIn(Math.min(wait, MOST_WAIT_S), POLICY_VIOLATION, reason);
      }
      this.dispatchEvent(new CustomEvent("refused", { detail: reason }));
    } catch {
      // The server cannot be reached at all, which the phase shows.
    }
  }

  /** A half-open connection never closes by itself: ping, and treat it as lost without a reply. */
  _watchSilence() {
    this._clearTimer();
    const due = this._clock.now() + 1000;
    const dueWall = this._clock.wall() + 1000;
    this._timer = this._clock.setTimeout(() => {
      const now = this._clock.now();
      const silentFor = (now - this._receivedAt) / 1000;
      if (silentFor >= LOST_AFTER_S || now >= this._answerBy) {
        this._handleLoss(1006, "");
        return;
      }
      // A clock that was set looks like a sleep, and only costs a ping.
      if (Math.max(now - due, this._clock.wall() - dueWall) > ASLEEP_MS) this.wake();
      else if (silentFor >= PING_AFTER_S && !this._pinged && this.send(PING_MESSAGE)) this._pinged = true;
      this._watchSilence();
    }, 1000);
  }

  /** Drops the connection, a successor and their timers. */
  _discardSocket() {
    this._clearTimer();
    this._dropSuccessor();
    if (this._socket) hangUp(this._socket);
    this._socket = null;
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

/** @param {WebSocket} socket whose events count no more */
function hangUp(socket) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  if (socket.readyState <= 1) socket.close();
}

/**
 * @param {unknown} data
 * @returns {boolean} whether it is a hello that this page understands
 */
function isHello(data) {
  try {
    return typeof data === "string" && parseMessage(data)?.type === "hello";
  } catch {
    return false;
  }
}
