/**
 * Turns a stream of sound (a microphone, a tab, the system) into blocks of samples, and says what keeps the sound away.
 */

/** Samples per block: 21 ms at 48 kHz, 46 ms at 22.05 kHz. */
const BLOCK_FRAMES = 1024;
/** Without a block for so long, although nothing is known to be wrong, the stream must be opened again. */
const SILENT_MS = 3000;

/** Constraints of a track that must sound as it does in the room. */
export const UNPROCESSED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Events after which a suspended audio context may run again: the page is seen, or was touched. */
const WAKING_EVENTS = ["visibilitychange", "pointerdown", "keydown", "focus"];

/**
 * @typedef {object} SourceEvents
 * @property {(block: ArrayBuffer, sampleRate: number) => void} block   float 32 samples, one channel; in Hz
 * @property {(trouble: string) => void} trouble    a sentence, why no sound comes for now; "" when it comes again
 * @property {(text: string) => void} note          a sentence for the user, while the sound goes on
 * @property {(reason: string) => void} ended       a sentence, why no more sound will come
 */

/** A failure that the user can fix; `message` says how. */
export class InputError extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text);
    this.name = "InputError";
  }
}

/** @returns {string} why this page cannot record at all; empty if it can */
export function unavailableReason() {
  if (!window.isSecureContext) {
    return "Browsers give the microphone only to pages loaded over https or from this machine (localhost), and this "
      + "page was loaded over plain http. Ask the operator to start the server with --tls self-signed, or open the page "
      + "on the server's machine as http://localhost. An audio file works here too.";
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof AudioWorkletNode === "undefined") {
    return "This browser cannot record audio in a page. Use a current Firefox, Chrome, Edge or Safari.";
  }
  return "";
}

export class Capture {
  /**
   * @param {MediaStream} stream           with one audio track; `close` stops it
   * @param {string} name                  for sentences
   * @param {Pick<SourceEvents, "block"|"trouble">} events
   */
  constructor(stream, name, events) {
    this.stream = stream;
    this._name = name;
    this._events = events;
    this.track = stream.getAudioTracks()[0];
    this._context = new AudioContext({ latencyHint: "interactive" });
    /** @type {AudioWorkletNode|null} */
    this._tap = null;
    /** Why no sound comes for now, a sentence; "" while it comes. */
    this.trouble = "";
    this._heardAt = performance.now();
    this._wake = () => void this._context.resume().catch(() => {});
  }

  async open() {
    const context = this._context;
    // Not awaited: without a user gesture the promise stays pending, and the state says so.
    this._wake();
    await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url).href);
    const tap = new AudioWorkletNode(context, "pcm-tap", {
      numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
      processorOptions: { blockFrames: BLOCK_FRAMES },
    });
    tap.port.onmessage = (event) => {
      this._heardAt = performance.now();
      this._events.block(event.data, context.sampleRate);
    };
    this._tap = tap;
    // Some browsers do not run an unconnected node, so it is connected to the speakers with gain 0.
    const mute = new GainNode(context, { gain: 0 });
    context.createMediaStreamSource(this.stream).connect(tap).connect(mute).connect(context.destination);
    context.onstatechange = () => this._check();
    this.track.onmute = this.track.onunmute = () => this._check();
    for (const name of WAKING_EVENTS) addEventListener(name, this._wake, true);
    this._heardAt = performance.now();
    this._check();
  }

  /** Whether no sound comes although nothing is known to be wrong: another sample rate, or a sleep of the computer. */
  get isStuck() {
    return this.trouble === "" && performance.now() - this._heardAt > SILENT_MS;
  }

  /** Starts the time until the capture counts as stuck again, after the page itself was asleep. */
  forgive() {
    this._heardAt = performance.now();
  }

  _check() {
    const suspended = this._context.state !== "running";
    let trouble = "";
    if (this.track.muted) {
      trouble = `The system has muted “${this._name}”, for example for a call or by a switch. It continues by itself.`;
    } else if (suspended) {
      trouble = `The browser has paused the sound of “${this._name}”. It continues by itself, or click on this page.`;
    }
    if (suspended) this._wake();
    if (trouble === this.trouble) return;
    this.trouble = trouble;
    this._heardAt = performance.now();
    this._events.trouble(trouble);
  }

  async close() {
    for (const name of WAKING_EVENTS) removeEventListener(name, this._wake, true);
    this._context.onstatechange = null;
    // A block may still be under way.
    if (this._tap) this._tap.port.onmessage = null;
    for (const track of this.stream.getTracks()) {
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    }
    if (this._context.state !== "closed") await this._context.close();
  }
}
