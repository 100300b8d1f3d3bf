/**
 * A microphone of this browser, without echo canceller, noise suppressor or gain control. One that is unplugged is
 * waited for and never replaced by another.
 */

import { Capture, InputError, UNPROCESSED, unavailableReason } from "./capture.js";
import { loadPreference, savePreference } from "./settings.js";

const CHECK_MS = 1000;

/** @typedef {{id: string, label: string}} Device */

/**
 * Lists the microphones; empty before the user has allowed one.
 * @returns {Promise<Device[]>}
 */
export async function listMicrophones() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && !["", "communications"].includes(deviceId))
    .map((device) => ({ id: device.deviceId, label: device.label || "microphone" }));
}

/** @returns {Device|null} the microphone that the user has chosen in this browser */
export function chosenMicrophone() {
  try {
    const { id, label } = JSON.parse(loadPreference("microphone") ?? "");
    return typeof id === "string" && typeof label === "string" ? { id, label } : null;
  } catch {
    return null;
  }
}

/** @param {Device} device */
export function chooseMicrophone(device) {
  savePreference("microphone", JSON.stringify(device));
}

/**
 * Explains a refused or missing microphone to the user.
 * @param {DOMException} error
 * @returns {string}
 */
function explain({ name, message }) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser was not allowed to use the microphone. Allow it for this page (the icon beside the "
        + "address), then choose the microphone again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, or check that the system shows it, then try again.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone could not be opened. Another program may be using it: close that, then try again.";
    default:
      return `The microphone could not be opened (${message || name || "no reason given"}).`;
  }
}

export class Microphone {
  /**
   * @param {Device|null} device  null for the system's default
   * @param {import("./capture.js").SourceEvents} events
   */
  constructor(device, events) {
    /** The microphone that is used or waited for; null before the default is known. */
    this.device = device;
    this._events = events;
    /** @type {Capture|null} */
    this._capture = null;
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this._timer = undefined;
    this._checkedAt = 0;
    this._connecting = false;
    this._closed = false;
    /** Microphones that were there when this one was opened. @type {Device[]} */
    this._connected = [];
    this._check = () => void this._checkDevice();
  }

  get name() {
    return this.device?.label ?? "microphone";
  }

  /**
   * Requests the microphone and opens it. One that was chosen earlier and is not connected is waited for.
   * @throws {InputError} if it is not available
   */
  async open() {
    const reason = unavailableReason();
    if (reason) throw new InputError(reason);
    try {
      await this._connect();
    } catch (error) {
      const failure = /** @type {DOMException} */ (error);
      if (this.device && ["NotFoundError", "OverconstrainedError"].includes(failure.name)) this._reportMissing();
      else throw new InputError(explain(failure));
    }
    this._checkedAt = performance.now();
    this._timer = setInterval(this._check, CHECK_MS);
    navigator.mediaDevices.addEventListener("devicechange", this._check);
  }

  async _connect() {
    const deviceId = this.device ? { exact: this.device.id } : undefined;
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...UNPROCESSED, channelCount: 1, deviceId } });
    const [track] = stream.getAudioTracks();
    this.device ??= { id: track.getSettings().deviceId ?? "", label: track.label || "microphone" };
    this._connected = await listMicrophones();
    const capture = new Capture(stream, this.name, this._events);
    try {
      await capture.open();
    } catch (error) {
      await capture.close();
      throw error;
    }
    if (this._closed) {
      await capture.close();
      return;
    }
    this._capture = capture;
    track.onended = () => this._reconnect();
    if (track.readyState === "ended") this._reconnect();
  }

  /** Opens the same microphone again, now or when it is back. */
  _reconnect() {
    void this._capture?.close();
    this._capture = null;
    this._check();
  }

  async _checkDevice() {
    const sleptFor = performance.now() - this._checkedAt - CHECK_MS;
    this._checkedAt = performance.now();
    if (this._connecting || this._closed) return;
    if (this._capture) {
      await this._watchDevices();
      if (sleptFor > CHECK_MS) this._capture?.forgive();
      else if (this._capture?.isStuck) this._reconnect();
      return;
    }
    this._connecting = true;
    try {
      const devices = await navigator.mediaDevices.enumerateDevices();
      // Names are empty without permission: opening then says so.
      const known = devices.some((device) => ["", this.device?.id].includes(device.deviceId)
        && device.kind === "audioinput");
      if (this._closed) return;
      if (known) await this._connect();
      else this._reportMissing();
      const capture = /** @type {Capture|null} */ (this._capture);
      if (capture) this._events.trouble(capture.trouble);
    } catch (error) {
      if (this._closed) return;
      const failure = /** @type {DOMException} */ (error);
      if (["NotAllowedError", "SecurityError"].includes(failure.name)) this._events.ended(explain(failure));
      else this._events.trouble(`“${this.name}” stopped, and opening it again fails. The page keeps trying.`);
    } finally {
      this._connecting = false;
    }
  }

  /**
   * Looks which microphones have gone. The system or its sound server may replace them by another one without a word:
   * the one in use is then waited for, and where the default is in use the user is told.
   */
  async _watchDevices() {
    const connected = await listMicrophones();
    const gone = this._connected.filter(({ id }) => !connected.some((device) => device.id === id));
    this._connected = connected;
    if (!gone.length || !this._capture) return;
    if (gone.some(({ id }) => id === this.device?.id)) {
      this._reconnect();
    } else if (this.device?.id === "default") {
      this._events.note(`“${gone[0].label}” was unplugged. The system's default microphone goes on, which may be another `
        + "one now: choose the one you mean.");
    }
  }

  _reportMissing() {
    this._events.trouble(`“${this.name}” is not connected. Plug it in, and it continues by itself; or choose another `
      + "input.");
  }

  async close() {
    this._closed = true;
    clearInterval(this._timer);
    navigator.mediaDevices?.removeEventListener("devicechange", this._check);
    await this._capture?.close();
    this._capture = null;
  }
}
