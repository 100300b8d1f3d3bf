/**
 * Runs on the browser's audio thread: mixes the input to one channel and posts it in blocks.
 * `registerProcessor` and `AudioWorkletProcessor` are globals of that thread.
 */

/* global AudioWorkletProcessor, registerProcessor */

class PcmTap extends AudioWorkletProcessor {
  /** @param {{processorOptions: {blockFrames: number}}} options */
  constructor(options) {
    super();
    this._block = new Float32Array(options.processorOptions.blockFrames);
    this._filled = 0;
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean} true: keep running while the input is silent or not yet connected
   */
  process(inputs) {
    const channels = inputs[0];
    if (!channels || !channels.length) return true;
    const frames = channels[0].length;
    for (let i = 0; i < frames; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this._block[this._filled] = sum / channels.length;
      this._filled += 1;
      if (this._filled === this._block.length) {
        const full = this._block;
        this._block = new Float32Array(full.length);
        this._filled = 0;
        this.port.postMessage(full.buffer, [full.buffer]);
      }
    }
    return true;
  }
}

registerProcessor("pcm-tap", PcmTap);
