import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../mer_web/history.js";
import { TRAIL_S, trailIndices } from "../mer_web/trail.js";
import { estimate } from "./support.mjs";

const START = Date.UTC(2026, 0, 1);

function at(hop, count, history = new History(10_000)) {
  for (let seq = 0; seq < count; seq += 1) {
    history.push(estimate({ seq, utc: new Date(START + seq * hop * 1000).toISOString() }));
  }
  return history;
}

test("covers its seconds with few points and ends at the newest", () => {
  const history = at(0.1, 2000);
  const indices = trailIndices(history, history.end, history.newest);
  assert.ok(indices.length <= 92);
  assert.equal(indices.at(-1), 1999);
  assert.ok(history.newest - history.time[indices[0]] <= TRAIL_S);
  assert.ok(history.newest - history.time[indices[0]] > TRAIL_S - 1);
});

test("keeps its points from one estimate to the next", () => {
  const history = at(0.1, 2001);
  const before = trailIndices(history, 2000, history.time[1999]).slice(2, -1);
  const after = new Set(trailIndices(history, 2001, history.time[2000]));
  assert.ok(before.every((index) => after.has(index)));
});

test("stays within one session", () => {
  const history = at(1, 10);
  history.startSession("b", "");
  history.push(estimate({ seq: 0, utc: new Date(START + 11_000).toISOString() }));
  history.push(estimate({ seq: 1, utc: new Date(START + 12_000).toISOString() }));
  assert.deepEqual(trailIndices(history, history.end, history.newest), [10, 11]);
});

test("is empty without estimates", () => {
  assert.deepEqual(trailIndices(new History(4), 0, 0), []);
});
