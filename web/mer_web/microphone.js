/** This browser's microphone, without echo canceller, noise suppressor or gain control. */

/** Samples per block: 21 ms at 48 kHz, 46 ms at 22.05 kHz. */
const BLOCK_FRAMES = 1024;

/** A failure that the user can fix; `message` says how. */
export class InputError extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text);
    this.name = "InputError";
  }
}

/**
 * Explains a refused or missing microphone to the user.
 * @param {string} name  name of the DOMException
 * @param {string} message  message of the DOMException
 * @returns {string}
 */
function explainError(name, message) {
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

/** @returns {string} why this page cannot use a microphone at all; empty if it can */
function unavailableReason() {
  if (!window.isSecureContext) {
    return "Browsers allow the microphone only on pages loaded over https or from this machine "
      + "(localhost), and this page was loaded over plain http. Open it on the server's machine as "
      + "http://localhost, or forward the port there (ssh -L). An audio file works here too.";
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode === "undefined") {
    return "This browser cannot record audio in a page. Use a current Firefox, Chrome, Edge or Safari.";
  }
  return "";
}

export class Microphone {
  /**
   * @param {(block: ArrayBuffer) => void} onBlock   float 32 samples, one channel
   * @param {(reason: string) => void} onEnded       called when it was unplugged or its permission was revoked
   */
  constructor(onBlock, onEnded) {
    this._onBlock = onBlock;
    this._onEnded = onEnded;
    /** @type {AudioContext|null} */
    this._context = null;
    /** @type {MediaStream|null} */
    this._stream = null;
    this.name = "";
    this.sampleRate = 0;
  }

  /**
   * Requests the microphone and opens it.
   * @throws {InputError} if it is not available
   */
  async open() {
    const reason = unavailableReason();
    if (reason) throw new InputError(reason);
    try {
      this._stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 },
      });
      const context = new AudioContext({ latencyHint: "interactive" });
      this._context = context;
      // This needs a user gesture: the caller handles a click or a key.
      if (context.state === "suspended") await context.resume();
      await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url).href);
      const tap = new AudioWorkletNode(context, "pcm-tap", {
        numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
        processorOptions: { blockFrames: BLOCK_FRAMES },
      });
      tap.port.onmessage = (event) => this._onBlock(event.data);
      // Some browsers do not run an unconnected node, so it is connected to the speakers with gain 0.
      const mute = new GainNode(context, { gain: 0 });
      context.createMediaStreamSource(this._stream).connect(tap).connect(mute).connect(context.destination);
      this.sampleRate = context.sampleRate;
    } catch (error) {
      await this.close();
      const { name, message } = /** @type {DOMException} */ (error);
      throw error instanceof InputError ? error : new InputError(explainError(name, message));
    }
    const [track] = this._stream.getAudioTracks();
    this.name = track.label || "microphone";
    track.onended = () => this._onEnded("The microphone is gone: it was unplugged, or its permission was revoked.");
  }

  async close() {
    const stream = this._stream;
    const context = this._context;
    this._stream = null;
    this._context = null;
    for (const track of stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    if (context && context.state !== "closed") await context.close();
  }
}
