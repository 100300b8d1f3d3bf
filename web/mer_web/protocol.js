/**
 * The messages of the websocket, schema 1: parses and validates those of the server, builds those of the page.
 * Independent of sockets and of the screen.
 */

import { clean } from "./text.js";

const SCHEMA = 1;

/** Counters of a health message to show; the server has less than ten. */
const MAX_COUNTERS = 40;

/** Points of a target to draw; the server reads no more. */
const MAX_POINTS = 1000;

/** Letters of a marker; the server cuts longer ones. */
export const MAX_MARKER = 500;

/** Streams of a list to take; the server lists less. */
const MAX_SESSIONS = 100;

/** Outputs and scenes of a show to list. */
const MAX_OUTPUTS = 100;

/** Bands of a pulse, and pulses of a message to take. */
export const PULSE_BANDS = 6;
const MAX_PULSES = 100;

/** States of an estimate; the index is the code in the history. */
export const STATES = /** @type {const} */ (["silence", "settling", "tracking", "stalled", "speech", "noise"]);

/** States in which the last values are repeated. @type {readonly string[]} */
const REPEATING = ["silence", "speech", "noise", "stalled"];

/**
 * @param {string} state
 * @returns {boolean} whether it repeats the last values
 */
export function repeats(state) {
  return REPEATING.includes(state);
}

/**
 * @typedef {{window_s: number, buffer_ms: number, compute_ms: number, queue_ms: number}} Latency
 *
 * @typedef {{valence: number, arousal: number, valence_low: number, valence_high: number, arousal_low: number,
 *            arousal_high: number}} AxisValues  in [-1, 1]; each interval contains its value
 *
 * @typedef {object} Fast  values from the newest seconds alone, in [-1, 1]
 * @property {number} window_s  number of seconds
 * @property {number} valence
 * @property {number} arousal
 * @property {number} valence_low
 * @property {number} valence_high
 * @property {number} arousal_low
 * @property {number} arousal_high
 * @property {AxisValues} [scaled]  the same as their place among music; absent with the range raw
 *
 * @typedef {object} Estimate  valence, arousal and their 80 % interval in [-1, 1]
 * @property {"estimate"} type
 * @property {number} seq
 * @property {number} t            stream time in seconds
 * @property {string} utc          ISO 8601
 * @property {number} valence
 * @property {number} arousal
 * @property {number} valence_low
 * @property {number} valence_high
 * @property {number} arousal_low
 * @property {number} arousal_high
 * @property {string} mood          empty before any music was heard
 * @property {string} state
 * @property {number} level_db
 * @property {Latency} latency
 * @property {Fast} [fast]         absent where the server has none
 * @property {AxisValues} [scaled] the values as their place among music; absent with the range raw
 *
 * @typedef {{kind: string, name: string, sample_rate_hz: number, channels: number}} InputInfo
 *
 * @typedef {object} Hello
 * @property {"hello"} type
 * @property {number} schema
 * @property {string} session
 * @property {string} server
 * @property {string} model        name and version in one line
 * @property {number} hop_s
 * @property {number} window_s
 * @property {number} coverage
 * @property {string} range        raw or music; empty from an older server
 * @property {boolean} adapt       whether the range adapts to the stream
 * @property {InputInfo} input
 * @property {string} backend
 * @property {string} backend_note why a fallback backend runs; usually empty
 * @property {string} role         view, send or control: what this page's token allows; control without tokens
 * @property {boolean} recording   whether the server records the session
 * @property {import("./target.js").TargetPoint[]} target  the way that it is meant to take; empty for none
 * @property {number} speed        seconds of the session in a second: not 1 where a recording is replayed faster
 *
 * @typedef {{type: "snapshot", session: string, estimates: Estimate[], complete: boolean}} Snapshot
 * @typedef {{type: "health", session: string, counters: Record<string, number>, viewers: number,
 *            sessions: number, uptime_s: number, show?: ShowState, personal?: Personal}} Health  no show without
 *            outputs, nothing personal without a person
 *
 * @typedef {{shift: number, scale: number, widen: number}} AxisMap
 * @typedef {{taps: number, pieces: number, map: {valence: AxisMap, arousal: AxisMap}, worth_using: boolean,
 *            advice: string}} Personal
 * @typedef {{action: "add"|"undo"|"reset", valence?: number, arousal?: number}} TapChange
 *
 * @typedef {{mute: boolean, freeze: boolean, blackout: boolean, override: Record<string, number>}} ControlState
 * @typedef {{name: string, kind: string, health: string, sent: number, dropped: number, answer: string,
 *            control: ControlState}} OutputState
 * @typedef {{name: string, active: boolean, reason: string}} SceneState
 * @typedef {{control: ControlState, outputs: OutputState[], scenes: SceneState[]}} ShowState
 * @typedef {{output?: string, mute?: boolean, freeze?: boolean, blackout?: boolean,
 *            override?: Record<string, number|null>, scene?: string, marker?: string,
 *            marker_t?: number}} ControlChange  null gives a value back to the music
 *
 * @typedef {{type: "event", kind: string, t: number, utc: string, mood: string}} ChangeEvent  a change of the music
 * @typedef {{type: "marker", t: number, utc: string, text: string}} Marker  a remark of somebody
 *
 * @typedef {object} Pulse  the music between estimates
 * @property {number} t         stream time in seconds
 * @property {number} level_db
 * @property {number[]} bands   six values from 0 to 1, from 40 Hz up
 * @property {number} onset     strength of an onset, 0 to 1; 0 for none
 *
 * @typedef {{type: "pulse", pulses: Pulse[]}} Pulses  oldest first
 *
 * @typedef {{type: "warning"|"error", code: string, message: string}} Notice
 * @typedef {{type: "end", session: string, reason: string}} End
 * @typedef {{type: "going_away", closes_in_s: number}} GoingAway
 * @typedef {{session: string, own: boolean, input: InputInfo, uptime_s: number, estimate: Estimate|null,
 *            ended: string}} ListedSession  ended: why, empty while it goes on
 * @typedef {{type: "sessions", total: number, sessions: ListedSession[]}} Sessions
 * @typedef {{type: "pong"}} Pong
 * @typedef {Hello|Snapshot|Estimate|Health|ChangeEvent|Marker|Pulses|Notice|End|GoingAway|Sessions|Pong} Message
 */

/** A message that does not follow the schema; `message` names the fault. */
export class ProtocolError extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text);
    this.name = "ProtocolError";
  }
}

/** A server of another schema; `message` says what to do. */
export class SchemaError extends ProtocolError {}

/**
 * @param {unknown} value
 * @param {string} what
 * @returns {Record<string, unknown>}
 */
function record(value, what) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError(`${what} is not an object`);
  }
  return /** @type {Record<string, unknown>} */ (value);
}

/**
 * @param {Record<string, unknown>} from
 * @param {string} name
 * @param {number} [fallback] used where the field is absent; without a fallback, absence is an error
 * @returns {number}
 */
function number(from, name, fallback) {
  const value = from[name];
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new ProtocolError(`${name} is not a finite number`);
  }
  return value;
}

/**
 * @param {Record<string, unknown>} from
 * @param {string} name
 * @returns {number} the field, clamped to [-1, 1]
 */
function axisValue(from, name) {
  return Math.max(-1, Math.min(1, number(from, name)));
}

/**
 * @param {Record<string, unknown>} from
 * @returns {string} its time, ISO 8601
 */
function time(from) {
  const utc = clean(from.utc, 40);
  if (!Number.isFinite(Date.parse(utc))) throw new ProtocolError("utc is not a time");
  return utc;
}

/**
 * @param {Record<string, unknown>} from
 * @returns {AxisValues}
 */
function axisValues(from) {
  const valence = axisValue(from, "valence");
  const arousal = axisValue(from, "arousal");
  return {
    valence,
    arousal,
    valence_low: Math.min(valence, axisValue(from, "valence_low")),
    valence_high: Math.max(valence, axisValue(from, "valence_high")),
    arousal_low: Math.min(arousal, axisValue(from, "arousal_low")),
    arousal_high: Math.max(arousal, axisValue(from, "arousal_high")),
  };
}

/**
 * @param {Record<string, unknown>} from
 * @returns {{scaled?: AxisValues}}
 */
function scaledPart(from) {
  return from.scaled === undefined ? {} : { scaled: axisValues(record(from.scaled, "scaled")) };
}

/**
 * @param {unknown} value
 * @returns {Estimate}
 */
function parseEstimate(value) {
  const from = record(value, "estimate");
  const latency = record(from.latency ?? {}, "latency");
  const utc = time(from);
  const state = clean(from.state, 24);
  if (state === "") throw new ProtocolError("state is missing");
  if (!Number.isSafeInteger(from.seq)) throw new ProtocolError("seq is not an integer");
  /** @type {Estimate} */
  const estimate = {
    ...scaledPart(from),
    type: "estimate",
    seq: number(from, "seq"),
    t: number(from, "t"),
    utc,
    ...axisValues(from),
    mood: clean(from.mood, 24),
    state,
    level_db: number(from, "level_db"),
    latency: {
      window_s: number(latency, "window_s", 0),
      buffer_ms: number(latency, "buffer_ms", 0),
      compute_ms: number(latency, "compute_ms", 0),
      queue_ms: number(latency, "queue_ms", 0),
    },
  };
  if (from.fast !== undefined) {
    const fast = record(from.fast, "fast");
    estimate.fast = { window_s: number(fast, "window_s"), ...axisValues(fast), ...scaledPart(fast) };
  }
  return estimate;
}

/**
 * @param {unknown} value
 * @returns {InputInfo}
 */
function parseInput(value) {
  const input = record(value ?? {}, "input");
  return {
    kind: clean(input.kind, 24),
    name: clean(input.name, 80),
    sample_rate_hz: number(input, "sample_rate_hz", 0),
    channels: number(input, "channels", 0),
  };
}

/**
 * @param {unknown} value
 * @returns {ListedSession}
 */
function parseListed(value) {
  const from = record(value, "session");
  return {
    session: clean(from.session, 80),
    own: from.own === true,
    input: parseInput(from.input),
    uptime_s: number(from, "uptime_s", 0),
    estimate: from.estimate ? parseEstimate(from.estimate) : null,
    ended: clean(from.ended, 200),
  };
}

/**
 * @param {Record<string, unknown>} from
 * @returns {Hello}
 */
function parseHello(from) {
  const schema = number(from, "schema");
  if (schema !== SCHEMA) {
    throw new SchemaError(
      `the server uses schema ${schema}, this page schema ${SCHEMA}: reload the page`);
  }
  const model = record(from.model ?? {}, "model");
  return {
    type: "hello",
    schema,
    session: clean(from.session, 80),
    server: clean(from.server, 60),
    model: `${clean(model.name, 40)} ${clean(model.version, 24)}`.trim(),
    hop_s: number(from, "hop_s", 1),
    window_s: number(from, "window_s", 0),
    coverage: number(from, "coverage", 0.8),
    range: clean(from.range, 24),
    adapt: from.adapt === true,
    input: parseInput(from.input),
    backend: clean(from.backend, 40),
    backend_note: clean(from.backend_note, 300),
    role: clean(from.role, 24) || "control",
    recording: from.recording === true,
    target: from.target === undefined ? [] : parseTarget(from.target),
    speed: Math.max(0.01, number(from, "speed", 1)),
  };
}

/**
 * @param {unknown} value
 * @returns {import("./target.js").TargetPoint[]} in order of time
 */
function parseTarget(value) {
  const { points } = record(value, "target");
  if (!Array.isArray(points)) throw new ProtocolError("the points of target are not a list");
  const parsed = points.slice(0, MAX_POINTS).map((each) => {
    const point = record(each, "point");
    return { t: number(point, "t_s"), valence: axisValue(point, "valence"), arousal: axisValue(point, "arousal") };
  });
  return parsed.sort((a, b) => a.t - b.t);
}

/**
 * @param {unknown} value
 * @returns {ControlState}
 */
function parseControl(value) {
  const from = record(value, "control");
  /** @type {Record<string, number>} */
  const override = {};
  for (const [name, part] of Object.entries(record(from.override ?? {}, "override")).slice(0, MAX_COUNTERS)) {
    if (typeof part === "number" && Number.isFinite(part)) override[clean(name, 40)] = part;
  }
  return { mute: from.mute === true, freeze: from.freeze === true, blackout: from.blackout === true, override };
}

/**
 * @param {unknown} value
 * @returns {ShowState}
 */
function parseShow(value) {
  const from = record(value, "show");
  if (!Array.isArray(from.outputs)) throw new ProtocolError("outputs is not a list");
  const outputs = from.outputs.slice(0, MAX_OUTPUTS).map((each) => {
    const output = record(each, "output");
    return {
      name: clean(output.name, 80),
      kind: clean(output.kind, 24),
      health: clean(output.health, 24),
      sent: number(output, "sent", 0),
      dropped: number(output, "dropped", 0),
      answer: clean(output.answer, 200),
      control: parseControl(output.control ?? {}),
    };
  });
  const scenes = (Array.isArray(from.scenes) ? from.scenes : []).slice(0, MAX_OUTPUTS).map((each) => {
    const scene = record(each, "scene");
    return { name: clean(scene.name, 80), active: scene.active === true, reason: clean(scene.reason, 200) };
  });
  return { control: parseControl(from.control ?? {}), outputs, scenes };
}

/**
 * @param {unknown} value
 * @returns {Personal}
 */
function parsePersonal(value) {
  const from = record(value, "personal");
  const map = record(from.map, "map");
  const axis = (/** @type {string} */ name) => {
    const part = record(map[name], name);
    return { shift: number(part, "shift"), scale: number(part, "scale"), widen: Math.max(0, number(part, "widen")) };
  };
  return {
    taps: number(from, "taps"),
    pieces: number(from, "pieces"),
    map: { valence: axis("valence"), arousal: axis("arousal") },
    worth_using: from.worth_using === true,
    advice: clean(from.advice, 300),
  };
}

/**
 * @param {Record<string, unknown>} from
 * @returns {Health}
 */
function parseHealth(from) {
  /** @type {Record<string, number>} */
  const counters = {};
  for (const [name, value] of Object.entries(record(from.counters ?? {}, "counters")).slice(0, MAX_COUNTERS)) {
    if (typeof value === "number" && Number.isFinite(value)) counters[clean(name, 40)] = value;
  }
  return {
    type: "health",
    session: clean(from.session, 80),
    counters,
    viewers: number(from, "viewers", 0),
    sessions: number(from, "sessions", 0),
    uptime_s: number(from, "uptime_s", 0),
    ...(from.show === undefined ? {} : { show: parseShow(from.show) }),
    ...(from.personal === undefined ? {} : { personal: parsePersonal(from.personal) }),
  };
}

/**
 * @param {unknown} value
 * @returns {Pulse}
 */
function parsePulse(value) {
  const from = record(value, "pulse");
  const { bands } = from;
  if (!Array.isArray(bands) || bands.length !== PULSE_BANDS) {
    throw new ProtocolError(`bands is not a list of ${PULSE_BANDS} numbers`);
  }
  const share = (/** @type {unknown} */ part) => {
    if (typeof part !== "number" || !Number.isFinite(part)) throw new ProtocolError("a band is not a finite number");
    return Math.max(0, Math.min(1, part));
  };
  return { t: number(from, "t"), level_db: number(from, "level_db"), bands: bands.map(share), onset: share(from.onset) };
}

/**
 * Parses a text frame of the server.
 * @param {string} text
 * @returns {Message|null} null for an unknown type: a newer server may send more types
 * @throws {ProtocolError} if a known message does not follow the schema
 */
export function parseMessage(text) {
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("not JSON");
  }
  const from = record(value, "message");
  switch (from.type) {
    case "estimate":
      return parseEstimate(from);
    case "hello":
      return parseHello(from);
    case "snapshot": {
      if (!Array.isArray(from.estimates)) throw new ProtocolError("estimates is not a list");
      const estimates = from.estimates.map(parseEstimate);
      return { type: "snapshot", session: clean(from.session, 80), estimates,
               complete: from.complete !== false };
    }
    case "event":
      return { type: "event", kind: clean(from.kind, 24), t: number(from, "t"), utc: time(from), mood: clean(from.mood, 24) };
    case "marker":
      return { type: "marker", t: number(from, "t"), utc: time(from), text: clean(from.text, MAX_MARKER) };
    case "health":
      return parseHealth(from);
    case "pulse":
      if (!Array.isArray(from.pulses)) throw new ProtocolError("pulses is not a list");
      return { type: "pulse", pulses: from.pulses.slice(0, MAX_PULSES).map(parsePulse) };
    case "warning":
    case "error":
      return { type: from.type, code: clean(from.code, 40), message: clean(from.message, 300) };
    case "end":
      return { type: "end", session: clean(from.session, 80), reason: clean(from.reason, 200) };
    case "going_away":
      return { type: "going_away", closes_in_s: number(from, "closes_in_s", 0) };
    case "sessions": {
      if (!Array.isArray(from.sessions)) throw new ProtocolError("sessions is not a list");
      return { type: "sessions", total: number(from, "total"), sessions: from.sessions.slice(0, MAX_SESSIONS).map(parseListed) };
    }
    case "pong":
      return { type: "pong" };
    default:
      if (typeof from.type !== "string") throw new ProtocolError("message without a type");
      return null;
  }
}

/**
 * @param {number} sampleRate in Hz
 * @param {string} name name of the stream
 * @returns {string} the message that starts a stream of this browser
 */
export function startMessage(sampleRate, name) {
  return JSON.stringify({ type: "start", sample_rate_hz: Math.round(sampleRate), channels: 1, format: "f32le",
                          name: clean(name, 80) || "browser" });
}

/**
 * @param {boolean} on
 * @returns {string} the message that asks for the list of all streams, or for no more of it
 */
export function sessionsMessage(on) {
  return JSON.stringify({ type: "sessions", on });
}

/**
 * @param {string} token
 * @returns {string} the first message to a server that asks for a token
 */
export function authMessage(token) {
  return JSON.stringify({ type: "auth", token });
}

/**
 * @param {ControlChange} change
 * @returns {string} the message that changes the show
 */
export function controlMessage(change) {
  return JSON.stringify({ type: "control", ...change });
}

/**
 * @param {TapChange} change
 * @returns {string} the message that changes the taps of the person
 */
export function tapMessage(change) {
  return JSON.stringify({ type: "tap", ...change });
}

/**
 * @param {boolean} on
 * @returns {string} the message that asks for pulses, or for no more of them
 */
export function pulseMessage(on) {
  return JSON.stringify({ type: "pulse", on });
}

export const STOP_MESSAGE = JSON.stringify({ type: "stop" });
export const PING_MESSAGE = JSON.stringify({ type: "ping", id: "page" });

/**
 * The websocket URL next to the page's own, with the position to resume from.
 * @param {string} base URL of the page
 * @param {{session: string, seq: number}|null} resume
 * @returns {string}
 */
export function socketUrl(base, resume) {
  const url = new URL("ws", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  if (resume) {
    url.searchParams.set("session", resume.session);
    url.searchParams.set("since", String(resume.seq));
  }
  return url.href;
}

/**
 * The address at which a plain request tells whether the server asks for a token.
 * @param {string} base URL of the page
 * @returns {string}
 */
export function healthUrl(base) {
  return new URL("healthz", base).href;
}

/**
 * The address at which a plain request tells why the server refuses the websocket of this page.
 * @param {string} base URL of the page
 * @returns {string}
 */
export function refusalUrl(base) {
  const url = new URL("ws", base);
  url.search = new URLSearchParams({ origin: url.origin }).toString();
  url.hash = "";
  return url.href;
}
