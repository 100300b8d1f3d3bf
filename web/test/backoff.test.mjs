import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, FIRST_S, LONGEST_S } from "../mer_web/backoff.js";

test("doubles from half a second to ten", () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 10, 10, 10]);
});

test("is never in step with others, and never longer than it says", () => {
  let chance = 0;
  const backoff = new Backoff(() => (chance = (chance + 0.37) % 1));
  const waits = Array.from({ length: 200 }, () => backoff.next());
  assert.ok(Math.max(...waits) <= LONGEST_S);
  assert.ok(Math.min(...waits) >= FIRST_S * 0.75);
  assert.ok(new Set(waits.slice(10)).size > 50);
});

test("starts anew after a success", () => {
  const backoff = new Backoff(() => 1);
  for (let k = 0; k < 6; k += 1) backoff.next();
  assert.equal(backoff.exhausted, true);
  backoff.reset();
  assert.equal(backoff.exhausted, false);
  assert.equal(backoff.next(), 0.5);
});
