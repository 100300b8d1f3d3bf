/** PCM on its way to the server: float 32, little-endian, one channel. What does not fit is dropped and counted. */

const BYTES = 4;

/** Audio that may wait in the browser's own send buffer. Later than this, live is no longer live. */
export const MOST_WAITING_S = 0.5;

/** @typedef {{send: (data: ArrayBuffer) => boolean, bufferedAmount: number}} Sink */

/** Whether Float32Array has the byte order of the wire here; nearly every machine says yes. */
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export class PcmSender {
  /**
   * @param {Sink} sink
   * @param {number} sampleRate in Hz
   */
  constructor(sink, sampleRate) {
    this._sink = sink;
    this.sampleRate = sampleRate;
    this.sent = 0;
    this.dropped = 0;
  }

  /**
   * @param {ArrayBuffer} block  float 32 samples; not used again by the caller
   * @returns {boolean} whether it went out
   */
  push(block) {
    const samples = new Float32Array(block);
    if (this._sink.bufferedAmount > MOST_WAITING_S * this.sampleRate * BYTES) {
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
    this.sent += samples.length;
    return true;
  }

  /** Seconds of audio that were lost on this side. */
  get droppedSeconds() {
    return this.dropped / this.sampleRate;
  }
}
