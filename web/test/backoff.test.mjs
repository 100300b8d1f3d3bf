import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, FIRST_S, LONGEST_S } from "../mer_web/backoff.js";

test("delays double from half a second to ten", () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 10, 10, 10]);
});

test("delays have jitter and stay within their limits", () => {
  let state = 0;
  const backoff = new Backoff(() => (state = (state + 0.37) % 1));
  const waits = Array.from({ length: 200 }, () => backoff.next());
  assert.ok(Math.max(...waits) <= LONGEST_S);
  assert.ok(Math.min(...waits) >= FIRST_S * 0.75);
  assert.ok(new Set(waits.slice(10)).size > 50);
});

test("a reset restores the first delay", () => {
  const backoff = new Backoff(() => 1);
  for (let k = 0; k < 6; k += 1) backoff.next();
  assert.equal(backoff.exhausted, true);
  backoff.reset();
  assert.equal(backoff.exhausted, false);
  assert.equal(backoff.next(), 0.5);
});
