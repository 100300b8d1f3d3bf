import assert from "node:assert/strict";
import { test } from "node:test";

import { mixDown, pace } from "../mer_web/audio-file.js";

test("a file is given out as fast as it sounds", () => {
  assert.deepEqual(pace(10, 10.5, 0, 44100), { due: 22050, start: 10 });
});

test("a page that slept goes on where it was", () => {
  const { due, start } = pace(0, 100, 44100, 44100);
  assert.ok(due - 44100 <= 44100);
  // From the new start on, what is due grows from there without a rush.
  const later = pace(start, 100.1, due, 44100);
  assert.ok(Math.abs(later.due - due - 4410) <= 2, `${later.due - due}`);
});

test("channels are mixed to their mean", () => {
  const channels = [new Float32Array([1, 0.5]), new Float32Array([0, -0.5])];
  const audio = { length: 2, numberOfChannels: 2, getChannelData: (c) => channels[c] };
  assert.deepEqual([...mixDown(audio)], [0.5, 0]);
});
