/**
 * Streams an audio file in real time: the browser decodes it, a worker's timer paces its blocks, and a media element
 * plays it aloud if wanted. The timer replaces an audio context, which would need a user gesture, a secure page and a
 * sound card. A file is never dropped: while the server or the network takes nothing, it waits.
 */

import { InputError } from "./capture.js";
import { span } from "./text.js";

const RATE_HZ = 44100;
/** Samples per block: 46 ms. */
const BLOCK_FRAMES = 2048;
/** After a longer pause (the computer slept) the file continues where it was instead of catching up. */
const MAX_LATE_S = 5;
/** Half an hour in stereo takes 1.3 GB while it is decoded, and 0.3 GB soon after (Chromium 156). */
export const MAX_DURATION_S = 1800;
const MAX_BYTES = 400 * 1024 * 1024;
/** A file of at most so many bytes does not wait for its duration, which browsers may not read in a hidden page. */
const SMALL_BYTES = 20 * 1024 * 1024;
const METADATA_MS = 3000;
const INSTEAD = "Give it to the server instead, which takes files of any length: realtime-mer serve --input FILE.";

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
 * Computes how many samples are due; moves the start time after a long pause of the page.
 * @param {number} start     time when sample 0 was due, in seconds
 * @param {number} now       in seconds
 * @param {number} position  samples sent so far
 * @param {number} rate      in Hz
 * @returns {{due: number, start: number}} samples due by now, and the new start time
 */
export function pace(start, now, position, rate) {
  if (now - start - position / rate > MAX_LATE_S) return { due: position, start: now - position / rate };
  return { due: Math.floor((now - start) * rate), start };
}

/**
 * Waits for an event of a target, or throws at its `error`.
 * @param {EventTarget} target
 * @param {string} name
 * @returns {Promise<void>}
 */
function arrival(target, name) {
  return new Promise((done, fail) => {
    target.addEventListener(name, () => done(), { once: true });
    target.addEventListener("error", () => fail(new Error(`no ${name}`)), { once: true });
  });
}

export class AudioFile {
  /**
   * @param {File} file
   * @param {(sampleRate: number) => boolean} canSend  whether the connection can take a block now
   * @param {import("./capture.js").SourceEvents["block"]} onBlock
   * @param {() => void} onEnded                       called when all of it was sent
   */
  constructor(file, canSend, onBlock, onEnded) {
    this._file = file;
    this._canSend = canSend;
    this._onBlock = onBlock;
    this._onEnded = onEnded;
    /** @type {Worker|null} */
    this._clock = null;
    /** @type {Float32Array} */
    this._samples = new Float32Array(0);
    this._player = new Audio();
    this._audible = false;
    this._start = 0;
    this._position = 0;
    this.name = file.name;
  }

  /**
   * Reads and decodes the file.
   * @throws {InputError} if this browser cannot decode it, or it is too large
   */
  async open() {
    if (this._file.size === 0) throw new InputError(`“${this.name}” is empty.`);
    if (this._file.size > MAX_BYTES) throw new InputError(`“${this.name}” is larger than 400 MB. ${INSTEAD}`);
    const bytes = await this._file.arrayBuffer().catch(() => {
      throw new InputError(`“${this.name}” cannot be read: a folder, or a file that was moved or changed since. `
        + "Choose it again.");
    });
    try {
      await this._checkDuration();
      this._samples = mixDown(await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes));
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError(`“${this.name}” is not audio that this browser can decode. Wav, mp3, flac and ogg `
        + "usually work.");
    }
    if (this._samples.length === 0) throw new InputError(`“${this.name}” contains no sound.`);
    this._clock = new Worker(new URL("clock-worker.js", import.meta.url));
    await arrival(this._clock, "message").catch(() => {
      throw new InputError("A part of this page could not be loaded from the server. Reload the page.");
    });
  }

  /** Refuses a file that is too long to decode, before it is decoded. */
  async _checkDuration() {
    this._player.preload = "metadata";
    const metadata = arrival(this._player, "loadedmetadata");
    this._player.src = URL.createObjectURL(this._file);
    const patience = new Promise((done) => setTimeout(done, METADATA_MS, "late"));
    if (this._file.size > SMALL_BYTES) await metadata;
    else if (await Promise.race([metadata, patience]) === "late") return;
    if (!Number.isFinite(this._player.duration)) {
      // The file does not say it, like many recordings of browsers: look for its end.
      const found = arrival(this._player, "seeked");
      this._player.currentTime = Number.MAX_SAFE_INTEGER;
      await found;
    }
    const duration = Math.max(this._player.currentTime, this._player.duration);
    if (duration > MAX_DURATION_S) {
      throw new InputError(`“${this.name}” lasts ${span(duration)}; this page takes files of at most `
        + `${span(MAX_DURATION_S)}. ${INSTEAD}`);
    }
  }

  /** Position and duration in seconds. */
  get progress() {
    return { position: this._position / RATE_HZ, duration: this._samples.length / RATE_HZ };
  }

  play() {
    this._start = performance.now() / 1000;
    if (this._clock) this._clock.onmessage = () => this._tick();
  }

  _tick() {
    const { due, start } = pace(this._start, performance.now() / 1000, this._position, RATE_HZ);
    const paused = start !== this._start;
    this._start = start;
    const end = this._samples.length;
    const before = this._position;
    while (this._position < Math.min(due, end) && this._canSend(RATE_HZ)) {
      const stop = Math.min(end, this._position + BLOCK_FRAMES);
      if (stop > due && stop < end) break;
      this._onBlock(this._samples.slice(this._position, stop).buffer, RATE_HZ);
      this._position = stop;
    }
    if (this._position >= end) {
      void this.close();
      this._onEnded();
    } else if (paused) {
      this._player.pause();
    } else if (this._position > before && this._audible && this._player.paused && !this._player.ended) {
      this._playAloud();
    }
  }

  /** @param {boolean} audible whether to play it through the speakers too */
  setAudible(audible) {
    this._audible = audible;
    if (audible) this._playAloud();
    else this._player.pause();
  }

  /** Plays it through the speakers from the current position. */
  _playAloud() {
    this._player.currentTime = this._position / RATE_HZ;
    // Without a user gesture the browser may refuse; the stream then continues silently.
    this._player.play().catch((error) => {
      if (error.name === "NotAllowedError") this._audible = false;
    });
  }

  async close() {
    this._clock?.terminate();
    this._clock = null;
    this._player.pause();
    URL.revokeObjectURL(this._player.src);
    this._player.removeAttribute("src");
  }
}
