/** One line each for the connection and the health of the server. */

import { POLICY_VIOLATION, TRY_AGAIN_LATER } from "./connection.js";
import { element, setData, setText } from "./dom.js";
import { brief, clean, counted, span } from "./text.js";
import { rangeLine } from "./value-range.js";

/** Texts of the server's loss counters. @type {Record<string, [one: string, many: string]>} */
const COUNTERS = {
  overflows: ["overflow", "overflows"],
  dropped_samples: ["sample dropped", "samples dropped"],
  overwritten_frames: ["frame overwritten", "frames overwritten"],
  late_windows: ["late window", "late windows"],
  bad_samples: ["bad sample", "bad samples"],
  faulty_updates: ["faulty update", "faulty updates"],
  skipped_updates: ["update skipped", "updates skipped"],
};

/**
 * @param {import("./connection.js").Phase} phase
 * @param {number} now milliseconds
 * @returns {string}
 */
export function linkLine(phase, now) {
  const seconds = Math.max(1, Math.ceil((phase.retryAt - now) / 1000));
  const retries = phase.name === "waiting" || phase.name === "gone";
  if (retries && phase.code === TRY_AGAIN_LATER) return `server is full, trying again in ${seconds} s`;
  if (retries && phase.code === POLICY_VIOLATION) return `closed by the server, trying again in ${seconds} s`;
  switch (phase.name) {
    case "open": return "connected";
    case "connecting": return phase.code ? "reconnecting now" : "connecting";
    case "waiting": return `reconnecting in ${seconds} s`;
    case "locked": return "token needed";
    case "gone": return `server gone, trying again in ${seconds} s`;
    default: return "not connected";
  }
}

/**
 * @param {import("./protocol.js").Health|null} health
 * @param {number} droppedSeconds  seconds of audio that this browser could not send
 * @param {number} sampleRate      of the input in Hz; 0 if it is not known
 * @returns {{text: string, trouble: boolean}}
 */
export function healthLine(health, droppedSeconds, sampleRate) {
  const losses = [];
  for (const [name, count] of Object.entries(health?.counters ?? {})) {
    if (count <= 0) continue;
    if (name === "dropped_samples" && sampleRate > 0) {
      losses.push(`${brief(Math.max(0.1, count / sampleRate))} s of audio missing`);
      continue;
    }
    const [one, many] = COUNTERS[name] ?? [clean(name.replaceAll("_", " "), 40), clean(name.replaceAll("_", " "), 40)];
    losses.push(counted(count, one, many));
  }
  if (droppedSeconds > 0) losses.push(`this browser dropped ${brief(Math.max(0.1, droppedSeconds))} s`);
  const parts = [losses.length ? losses.join(", ") : health ? "nothing lost" : ""];
  if (health) {
    parts.push(counted(health.viewers, "viewer"));
    if (health.sessions) parts.push(counted(health.sessions, "stream sent here", "streams sent here"));
    parts.push(`up ${span(health.uptime_s)}`);
  }
  return { text: parts.filter(Boolean).join(" · "), trouble: losses.length > 0 };
}

/**
 * @param {import("./protocol.js").InputInfo} input
 * @returns {string} description of the input: `demo · 44.1 kHz, 2 channels`
 */
export function inputLine(input) {
  const name = input.kind === "recording" ? `recording ${input.name}` : input.name || input.kind;
  if (!input.sample_rate_hz) return name;
  const channels = input.channels > 1 ? `, ${input.channels} channels` : "";
  return `${name} · ${Math.round(input.sample_rate_hz / 100) / 10} kHz${channels}`;
}

export class Status {
  constructor() {
    this._link = element("link", HTMLElement);
    this._linkText = element("link-text", HTMLElement);
    this._retry = element("retry", HTMLButtonElement);
    this._health = element("health", HTMLElement);
    this._about = element("about", HTMLElement);
    this._source = element("source", HTMLElement);
    this._serverName = element("server-name", HTMLElement);
    this._sampleRate = 0;
  }

  /**
   * @param {import("./connection.js").Phase} phase
   * @param {number} now milliseconds
   */
  link(phase, now) {
    setData(this._link, "phase", phase.name);
    this._retry.hidden = phase.name !== "waiting" && phase.name !== "gone";
    setText(this._linkText, linkLine(phase, now));
    const reason = clean(phase.reason);
    if (this._link.title !== reason) this._link.title = reason;
  }

  /** @param {import("./protocol.js").Hello} hello */
  hello(hello) {
    this._sampleRate = hello.input.sample_rate_hz;
    const faster = hello.speed === 1 ? "" : ` · ${brief(hello.speed)} times as fast`;
    setText(this._source, `${inputLine(hello.input)}${faster}`);
    this._source.title = this._source.textContent ?? "";
    const runs = [hello.server, hello.model && `model ${hello.model}`, hello.backend, rangeLine(hello)].filter(Boolean);
    setText(this._about, runs.join(" · "));
    this._about.title = hello.backend_note;
  }

  /** @param {import("./protocol.js").InputInfo} input of the server's own session */
  server(input) {
    // A server without its own input has nothing to return to.
    element("use-server", HTMLButtonElement).hidden = input.kind === "browser";
    setText(this._serverName, input.name || input.kind);
  }

  /**
   * @param {import("./protocol.js").Health|null} health
   * @param {number} droppedSeconds
   */
  health(health, droppedSeconds) {
    const { text, trouble } = healthLine(health, droppedSeconds, this._sampleRate);
    setText(this._health, text || "\u00a0");
    setData(this._health, "trouble", trouble ? "yes" : "no");
  }
}
