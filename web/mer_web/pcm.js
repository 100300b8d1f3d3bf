/** Sends PCM to the server: float 32, little-endian, one channel. Drops and counts what the network cannot take. */

const BYTES = 4;

/** Audio in the browser's send buffer, in seconds, from which on the network counts as too slow. */
export const MAX_BUFFERED_S = 0.5;
/** A burst, for example after the page was blocked, may fill the send buffer so far, in seconds of audio ... */
export const MAX_BURST_S = 10;
/** ... for this time. Longer, and the delay would be too long for live use. */
const PATIENCE_MS = 1000;

/** @typedef {{send: (data: ArrayBuffer) => boolean, bufferedAmount: number, isOpen: boolean}} Sink */

/** Whether this machine is little-endian, as the wire format is; nearly all are. */
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/**
 * Whether a source that can wait, such as a file, may send now.
 * @param {Sink} sink
 * @param {number} sampleRate in Hz
 */
export function hasRoom(sink, sampleRate) {
  return sink.isOpen && sink.bufferedAmount <= MAX_BUFFERED_S * sampleRate * BYTES;
}

export class PcmSender {
  /**
   * @param {Sink} sink
   * @param {number} sampleRate in Hz
   */
  constructor(sink, sampleRate) {
    this._sink = sink;
    this.sampleRate = sampleRate;
    this.dropped = 0;
    this._fullSince = NaN;
  }

  /**
   * @param {ArrayBuffer} block  float 32 samples; not used again by the caller
   * @param {number} [now]  milliseconds
   * @returns {boolean} whether it was sent
   */
  push(block, now = performance.now()) {
    const samples = new Float32Array(block);
    if (this._isTooFull(now)) {
      this.dropped += samples.length;
      return false;
    }
    if (!LITTLE_ENDIAN) {
      const view = new DataView(block);
      samples.slice().forEach((sample, i) => view.setFloat32(i * BYTES, sample, true));
    }
    if (!this._sink.send(block)) {
      this.dropped += samples.length;
      return false;
    }
    return true;
  }

  /** @param {number} now milliseconds */
  _isTooFull(now) {
    const buffered = this._sink.bufferedAmount / (this.sampleRate * BYTES);
    if (buffered <= MAX_BUFFERED_S) {
      this._fullSince = NaN;
      return false;
    }
    if (Number.isNaN(this._fullSince)) this._fullSince = now;
    return buffered > MAX_BURST_S || now - this._fullSince > PATIENCE_MS;
  }

  /** Seconds of audio that were dropped. */
  get droppedSeconds() {
    return this.dropped / this.sampleRate;
  }
}
