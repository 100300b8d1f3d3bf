import assert from "node:assert/strict";
import { test } from "node:test";

test("posts complete blocks of the mean of the channels without loss", async () => {
  const posted = [];
  let Tap;
  globalThis.AudioWorkletProcessor = class {
    port = { postMessage: (buffer) => posted.push(new Float32Array(buffer)) };
  };
  globalThis.registerProcessor = (name, processor) => {
    assert.equal(name, "pcm-tap");
    Tap = processor;
  };
  await import("../mer_web/pcm-worklet.js");
  const tap = new Tap({ processorOptions: { blockFrames: 100 } });
  assert.equal(tap.process([[]]), true);
  const sent = [];
  for (let k = 0; k < 10; k += 1) {
    const left = Float32Array.from({ length: 128 }, (_, i) => (k * 128 + i) / 4096);
    const right = left.map((value) => -value / 2);
    sent.push(...left.map((value, i) => (value + right[i]) / 2));
    tap.process([[left, right]]);
  }
  assert.equal(posted.length, 12);
  assert.ok(posted.every((part) => part.length === 100));
  const got = posted.flatMap((part) => [...part]);
  got.forEach((value, i) => assert.ok(Math.abs(value - sent[i]) < 1e-6));
});
