/**
 * Streams an audio file in real time: the browser decodes it, a timer sends its blocks, and it is played aloud if
 * wanted. The timer replaces an audio context, which would need a user gesture, a secure page and a sound card.
 */

import { InputError } from "./microphone.js";

const RATE_HZ = 44100;
/** Samples per block: 46 ms. */
const BLOCK_FRAMES = 2048;
const TICK_MS = 30;
/** After a longer sleep the page continues at its position instead of sending everything missed at once. */
const MAX_LATE_S = 2;
const MAX_BYTES = 400 * 1024 * 1024;

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
 * Computes how many samples are due; moves the start time after a sleep of the page.
 * @param {number} start     time when sample 0 was due, in seconds
 * @param {number} now       in seconds
 * @param {number} position  samples sent so far
 * @param {number} rate      in Hz
 * @returns {{due: number, start: number}} samples due by now, and the new start time
 */
export function pace(start, now, position, rate) {
  const delay = now - start - position / rate;
  if (delay > MAX_LATE_S) return { due: position + Math.round(MAX_LATE_S * rate / 4),
                                   start: now - position / rate - MAX_LATE_S / 4 };
  return { due: Math.floor((now - start) * rate), start };
}

export class AudioFile {
  /**
   * @param {File} file
   * @param {(block: ArrayBuffer) => void} onBlock   float 32 samples, one channel
   * @param {() => void} onEnded                     called when all of it was sent
   */
  constructor(file, onBlock, onEnded) {
    this._file = file;
    this._onBlock = onBlock;
    this._onEnded = onEnded;
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
    this._audible = false;
    this._start = 0;
    this._position = 0;
    this.name = file.name;
    this.sampleRate = RATE_HZ;
  }

  /**
   * Reads and decodes the file.
   * @throws {InputError} if this browser cannot decode it
   */
  async open() {
    if (this._file.size === 0) throw new InputError(`“${this.name}” is empty.`);
    if (this._file.size > MAX_BYTES) {
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
    if (this._audio.length === 0) throw new InputError(`“${this.name}” contains no sound.`);
    this._samples = mixDown(this._audio);
  }

  /** Position and duration in seconds. */
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
      this._updatePlayback();
    }
    const end = this._samples.length;
    while (this._position < Math.min(due, end)) {
      const stop = Math.min(end, this._position + BLOCK_FRAMES);
      if (stop > due && stop < end) break;
      this._onBlock(this._samples.slice(this._position, stop).buffer);
      this._position = stop;
    }
    if (this._position >= end) {
      clearInterval(this._timer);
      this._onEnded();
    }
  }

  /** @param {boolean} audible whether to play it through the speakers too */
  setAudible(audible) {
    this._audible = audible;
    this._updatePlayback();
  }

  /** Starts or stops playback through the speakers at the current position. */
  _updatePlayback() {
    this._source?.stop();
    this._source = null;
    if (!this._audible || !this._audio) return;
    this._context ??= new AudioContext();
    // Without a user gesture the browser may refuse; the stream then continues silently.
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
