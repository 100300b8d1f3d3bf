/**
 * An audio file as if it were played live: decoded by the browser, given out at the pace of the clock, and heard
 * where wanted. The pace comes from a timer, not from an audio context, so that it needs neither a gesture nor a
 * secure page nor a sound card.
 */

import { InputError } from "./microphone.js";

const RATE_HZ = 44100;
/** Samples a block: 46 ms. */
const BLOCK_FRAMES = 2048;
const TICK_MS = 30;
/** A page that slept longer than this goes on where it was instead of catching up in one rush. */
const MOST_LATE_S = 2;
const LARGEST_BYTES = 400 * 1024 * 1024;

/**
 * @param {AudioBuffer} audio
 * @returns {Float32Array} the mean of its channels
 */
export function mixDown(audio) {
  const mono = new Float32Array(audio.length);
  for (let c = 0; c < audio.numberOfChannels; c += 1) {
    const channel = audio.getChannelData(c);
    for (let i = 0; i < mono.length; i += 1) mono[i] += channel[i] / audio.numberOfChannels;
  }
  return mono;
}

/**
 * How many samples are due, and from when to count after a pause.
 * @param {number} start     seconds when sample 0 was due
 * @param {number} now       seconds
 * @param {number} position  samples given out
 * @param {number} rate      in Hz
 * @returns {{due: number, start: number}} samples that should be out by now
 */
export function pace(start, now, position, rate) {
  const late = now - start - position / rate;
  if (late > MOST_LATE_S) return { due: position + Math.round(MOST_LATE_S * rate / 4),
                                   start: now - position / rate - MOST_LATE_S / 4 };
  return { due: Math.floor((now - start) * rate), start };
}

export class AudioFile {
  /**
   * @param {File} file
   * @param {(block: ArrayBuffer) => void} block   float 32 samples, one channel
   * @param {() => void} ended                     all of it was given out
   */
  constructor(file, block, ended) {
    this._file = file;
    this._block = block;
    this._ended = ended;
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this._timer = undefined;
    /** @type {Float32Array} */
    this._samples = new Float32Array(0);
    /** @type {AudioBuffer|null} */
    this._audio = null;
    /** @type {AudioContext|null} */
    this._context = null;
    /** @type {AudioBufferSourceNode|null} */
    this._source = null;
    this._heard = false;
    this._start = 0;
    this._position = 0;
    this.name = file.name;
    this.sampleRate = RATE_HZ;
  }

  /**
   * Reads and decodes the file.
   * @throws {InputError} where it is not audio that this browser knows
   */
  async open() {
    if (this._file.size === 0) throw new InputError(`“${this.name}” is empty.`);
    if (this._file.size > LARGEST_BYTES) {
      throw new InputError(`“${this.name}” is larger than 400 MB. Give it to the server instead: `
        + "realtime-mer serve --input FILE.");
    }
    try {
      const bytes = await this._file.arrayBuffer();
      this._audio = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
    } catch {
      throw new InputError(`“${this.name}” is not audio that this browser can decode. Wav, mp3, flac and ogg `
        + "usually work.");
    }
    if (this._audio.length === 0) throw new InputError(`“${this.name}” holds no sound.`);
    this._samples = mixDown(this._audio);
  }

  /** Seconds that were given out, and seconds there are. */
  get progress() {
    return { position: this._position / RATE_HZ, duration: this._samples.length / RATE_HZ };
  }

  play() {
    this._start = performance.now() / 1000;
    this._timer = setInterval(() => this._tick(), TICK_MS);
  }

  _tick() {
    const { due, start } = pace(this._start, performance.now() / 1000, this._position, RATE_HZ);
    if (start !== this._start) {
      this._start = start;
      this._sound();
    }
    const end = this._samples.length;
    while (this._position < Math.min(due, end)) {
      const stop = Math.min(end, this._position + BLOCK_FRAMES);
      if (stop > due && stop < end) break;
      this._block(this._samples.slice(this._position, stop).buffer);
      this._position = stop;
    }
    if (this._position >= end) {
      clearInterval(this._timer);
      this._ended();
    }
  }

  /** @param {boolean} heard whether it should sound from the speakers too */
  hear(heard) {
    this._heard = heard;
    this._sound();
  }

  /** Sets the speakers to what should be heard now. */
  _sound() {
    this._source?.stop();
    this._source = null;
    if (!this._heard || !this._audio) return;
    this._context ??= new AudioContext();
    // Without a gesture the browser may refuse; then it is not heard, and the stream goes on all the same.
    this._context.resume().catch(() => {});
    this._source = new AudioBufferSourceNode(this._context, { buffer: this._audio });
    this._source.connect(this._context.destination);
    this._source.start(0, Math.min(this._audio.duration, this._position / RATE_HZ));
  }

  async close() {
    clearInterval(this._timer);
    this._source?.stop();
    this._source = null;
    this._audio = null;
    const context = this._context;
    this._context = null;
    if (context && context.state !== "closed") await context.close();
  }
}
