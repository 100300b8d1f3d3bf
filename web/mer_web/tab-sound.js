/** The sound of a browser tab or of the system, which the user shares. */

import { Capture, InputError, UNPROCESSED } from "./capture.js";

/** Whether this browser can share sound: all that can also know this constraint. */
export function canShareSound() {
  const devices = window.isSecureContext ? navigator.mediaDevices : undefined;
  return typeof devices?.getDisplayMedia === "function" && "suppressLocalAudioPlayback" in devices.getSupportedConstraints();
}

export class TabSound {
  /** @param {import("./capture.js").SourceEvents} events */
  constructor(events) {
    this._events = events;
    /** @type {Capture|null} */
    this._capture = null;
    this.name = "shared sound";
  }

  /**
   * Asks the user what to share.
   * @throws {InputError} if the user shares nothing, or no sound
   */
  async open() {
    const options = { video: true, audio: UNPROCESSED, systemAudio: "include" };
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia(options);
    } catch (error) {
      const { name, message } = /** @type {DOMException} */ (error);
      throw new InputError(name === "NotAllowedError"
        ? "Nothing was shared. Choose “tab sound” again, and then a tab or a screen."
        : `The sound could not be shared (${message || name}).`);
    }
    // Browsers share no sound without a picture, which nobody needs here.
    for (const track of stream.getVideoTracks()) track.stop();
    if (!stream.getAudioTracks().length) {
      throw new InputError("No sound was shared. Choose “tab sound” again and tick “share audio” in the "
        + "browser's dialog; for most systems only a tab has it.");
    }
    this._capture = new Capture(stream, this.name, this._events);
    this._capture.track.onended = () => this._events.ended("The sharing of the sound has ended. Choose “tab sound” to "
      + "share it again.");
    await this._capture.open();
  }

  async close() {
    await this._capture?.close();
    this._capture = null;
  }
}
