import assert from "node:assert/strict";
import { test } from "node:test";

import { mixDown, pace } from "../mer_web/audio-file.js";

test("samples are due in real time", () => {
  assert.deepEqual(pace(10, 10.5, 0, 44100), { due: 22050, start: 10 });
});

test("after a short pause everything missed is due", () => {
  assert.deepEqual(pace(10, 14.5, 0, 44100), { due: 4.5 * 44100, start: 10 });
});

test("after a sleep the file continues at its position", () => {
  const { due, start } = pace(0, 100, 44100, 44100);
  assert.equal(due, 44100);
  // From the new start time, samples are due in real time again.
  assert.ok(Math.abs(pace(start, 100.1, due, 44100).due - due - 4410) <= 1);
});

test("mixDown is the mean of the channels", () => {
  const channels = [new Float32Array([1, 0.5]), new Float32Array([0, -0.5])];
  const audio = { length: 2, numberOfChannels: 2, getChannelData: (c) => channels[c] };
  assert.deepEqual([...mixDown(audio)], [0.5, 0]);
});
