/** This browser's microphone, as it is: no echo canceller, noise suppressor or gain control between it and us. */

/** Samples a block: 21 ms at 48 kHz, 46 ms at 22.05 kHz. */
const BLOCK_FRAMES = 1024;

/** A failure that the person at the page can do something about; `message` says what. */
export class InputError extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text);
    this.name = "InputError";
  }
}

/**
 * What to tell about a refused or missing microphone.
 * @param {string} name  name of the DOMException
 * @param {string} said  its message
 * @returns {string}
 */
export function explain(name, said) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser was not allowed to use the microphone. Allow it for this page (the sign beside the "
        + "address), then choose the microphone again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, or check that the system shows it, then try again.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone could not be opened. Another program may hold it: close that, then try again.";
    default:
      return `The microphone could not be opened (${said || name || "no reason given"}).`;
  }
}

/** @returns {string} why this page may not have a microphone at all, empty where it may */
export function obstacle() {
  if (!window.isSecureContext) {
    return "Browsers give the microphone only to pages that come over https or from this very machine "
      + "(localhost), and this page came over plain http. Open it on the server's machine as "
      + "http://localhost, or forward the port there (ssh -L). An audio file works here as well.";
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode === "undefined") {
    return "This browser cannot record audio in a page. Use a current Firefox, Chrome, Edge or Safari.";
  }
  return "";
}

export class Microphone {
  /**
   * @param {(block: ArrayBuffer) => void} block   float 32 samples, one channel
   * @param {(reason: string) => void} ended       it was unplugged or taken away
   */
  constructor(block, ended) {
    this._block = block;
    this._ended = ended;
    /** @type {AudioContext|null} */
    this._context = null;
    /** @type {MediaStream|null} */
    this._stream = null;
    this.name = "";
    this.sampleRate = 0;
  }

  /**
   * Asks for the microphone and opens it.
   * @throws {InputError} where it cannot be had
   */
  async open() {
    const why = obstacle();
    if (why) throw new InputError(why);
    try {
      this._stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 },
      });
      const context = new AudioContext({ latencyHint: "interactive" });
      this._context = context;
      // Without a gesture it would stay suspended for ever: the caller comes from a click or a key.
      if (context.state === "suspended") await context.resume();
      await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url).href);
      const tap = new AudioWorkletNode(context, "pcm-tap", {
        numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
        processorOptions: { blockFrames: BLOCK_FRAMES },
      });
      tap.port.onmessage = (event) => this._block(event.data);
      // A node that leads nowhere is not run everywhere; silence leads to the speakers. The tap writes none.
      const mute = new GainNode(context, { gain: 0 });
      context.createMediaStreamSource(this._stream).connect(tap).connect(mute).connect(context.destination);
      this.sampleRate = context.sampleRate;
    } catch (error) {
      await this.close();
      const { name, message } = /** @type {DOMException} */ (error);
      throw error instanceof InputError ? error : new InputError(explain(name, message));
    }
    const [track] = this._stream.getAudioTracks();
    this.name = track.label || "microphone";
    track.onended = () => this._ended("The microphone is gone: unplugged, or its permission was taken back.");
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
