import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_BUFFERED_S, PcmSender } from "../mer_web/pcm.js";

function sink() {
  return { bufferedAmount: 0, open: true, sent: [], send(data) { if (this.open) this.sent.push(data); return this.open; } };
}

const block = (...samples) => new Float32Array(samples).buffer;

test("sends little-endian floats and counts them", () => {
  const out = sink();
  const sender = new PcmSender(out, 48000);
  assert.equal(sender.push(block(0.5, -0.75)), true);
  const view = new DataView(out.sent[0]);
  assert.deepEqual([view.getFloat32(0, true), view.getFloat32(4, true)], [0.5, -0.75]);
  assert.equal(sender.dropped, 0);
});

test("drops and counts while the network is too slow", () => {
  const out = sink();
  const sender = new PcmSender(out, 1000);
  out.bufferedAmount = MAX_BUFFERED_S * 1000 * 4 + 1;
  assert.equal(sender.push(block(0, 0, 0)), false);
  out.bufferedAmount = 0;
  assert.equal(sender.push(block(0, 0)), true);
  assert.deepEqual([out.sent.length, sender.dropped, sender.droppedSeconds], [1, 3, 0.003]);
});

test("drops and counts without a connection", () => {
  const out = sink();
  out.open = false;
  const sender = new PcmSender(out, 1000);
  sender.push(block(0, 0));
  assert.equal(sender.dropped, 2);
});
