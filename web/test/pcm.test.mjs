import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_BUFFERED_S, MAX_BURST_S, PcmSender, hasRoom } from "../mer_web/pcm.js";

function sink() {
  return { bufferedAmount: 0, open: true, get isOpen() { return this.open; }, sent: [], send(data) { if (this.open) this.sent.push(data); return this.open; } };
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

const bytes = (seconds) => seconds * 1000 * 4;

test("sends a burst whole: the send buffer empties only after it", () => {
  const out = sink();
  const sender = new PcmSender(out, 1000);
  for (let k = 0; k < 100; k += 1) {
    assert.equal(sender.push(new Float32Array(90).buffer, 5), true);
    out.bufferedAmount += bytes(0.09);
  }
  out.bufferedAmount = 0;
  assert.equal(sender.push(block(0), 2000), true);
  assert.deepEqual([out.sent.length, sender.dropped], [101, 0]);
});

test("drops and counts while the network stays too slow", () => {
  const out = sink();
  const sender = new PcmSender(out, 1000);
  out.bufferedAmount = bytes(MAX_BUFFERED_S) + 1;
  assert.equal(sender.push(block(0, 0, 0), 0), true);
  assert.equal(sender.push(block(0, 0, 0), 1001), false);
  out.bufferedAmount = 0;
  assert.equal(sender.push(block(0, 0), 1002), true);
  assert.deepEqual([out.sent.length, sender.dropped, sender.droppedSeconds], [2, 3, 0.003]);
});

test("drops what would take too much memory", () => {
  const out = sink();
  out.bufferedAmount = bytes(MAX_BURST_S) + 1;
  assert.equal(new PcmSender(out, 1000).push(block(0), 0), false);
});

test("a source that can wait sends only to an open and empty connection", () => {
  const out = sink();
  assert.equal(hasRoom(out, 1000), true);
  out.bufferedAmount = bytes(MAX_BUFFERED_S) + 1;
  assert.equal(hasRoom(out, 1000), false);
  assert.equal(hasRoom({ ...sink(), isOpen: false }, 1000), false);
});

test("drops and counts without a connection", () => {
  const out = sink();
  out.open = false;
  const sender = new PcmSender(out, 1000);
  sender.push(block(0, 0));
  assert.equal(sender.dropped, 2);
});
