import assert from "node:assert/strict";
import { test } from "node:test";

import { bench, benchLine } from "../mer_web/bench.js";

test("measures each length of the timeline on an hour of history", async () => {
  const added = [];
  const zooms = [];
  let timer;
  const result = await bench({
    addEstimate: (estimate) => added.push(estimate.seq),
    setZoom: (seconds) => zooms.push(seconds),
    onFrame: (listener) => {
      clearInterval(timer);
      if (listener) timer = setInterval(() => listener(2, 20), 1);
    },
  }, 0.05);
  assert.equal(result.estimates, 36_000);
  assert.ok(added.length >= 36_000);
  assert.ok(added.every((seq, k) => seq === k));
  assert.deepEqual(zooms, [3600, 600, 60]);
  for (const zoom of ["1h", "10m", "1m"]) {
    assert.ok(result[zoom].frames > 0);
    assert.equal(result[zoom].fps, 50);
    assert.equal(result[zoom].interval_p50, 20);
    assert.equal(result[zoom].draw_p95, 2);
  }
  assert.match(benchLine(result), /^36000 estimates\. 1 h: 50 frames\/s, drawing takes 2 ms \(95 %: 2 ms\)/);
});
