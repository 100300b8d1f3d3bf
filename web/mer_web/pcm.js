/** Sends PCM to the server: float 32, little-endian, one channel. Drops and counts what the network cannot take. */

const BYTES = 4;

/** Maximum audio in the browser's send buffer, in seconds. Beyond it the delay would be too long for live use. */
export const MAX_BUFFERED_S = 0.5;

/** @typedef {{send: (data: ArrayBuffer) => boolean, bufferedAmount: number}} Sink */

/** Whether this machine is little-endian, as the wire format is; nearly all are. */
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export class PcmSender {
  /**
   * @param {Sink} sink
   * @param {number} sampleRate in Hz
   */
  constructor(sink, sampleRate) {
    this._sink = sink;
    this.sampleRate = sampleRate;
    this.dropped = 0;
  }

  /**
   * @param {ArrayBuffer} block  float 32 samples; not used again by the caller
   * @returns {boolean} whether it was sent
   */
  push(block) {
    const samples = new Float32Array(block);
    if (this._sink.bufferedAmount > MAX_BUFFERED_S * this.sampleRate * BYTES) {
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

  /** Seconds of audio that were dropped. */
  get droppedSeconds() {
    return this.dropped / this.sampleRate;
  }
}
