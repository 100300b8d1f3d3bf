import assert from "node:assert/strict";
import { test } from "node:test";

import { Points, decimate } from "../mer_web/decimate.js";
import { History } from "../mer_web/history.js";
import { estimate } from "./support.mjs";

const START = Date.UTC(2026, 0, 1);

function random(seed) {
  let state = seed;
  return () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
}

function wave(count, capacity = 50_000, hop = 0.1) {
  const next = random(7);
  const history = new History(capacity);
  for (let seq = 0; seq < count; seq += 1) {
    const valence = next() * 1.6 - 0.8;
    const arousal = next() * 1.6 - 0.8;
    history.push(estimate({ seq, valence, arousal, valence_low: valence - 0.1, valence_high: valence + 0.1,
                            arousal_low: arousal - 0.2, arousal_high: arousal + 0.2,
                            utc: new Date(START + seq * hop * 1000).toISOString() }));
  }
  return history;
}

test("columns equal a direct computation, also across the end of the ring", () => {
  const history = wave(5000, 3000);
  const origin = START / 1000;
  const perColumn = 1.7;
  const points = new Points();
  decimate(history, history.start, history.end, origin, perColumn, points);
  const columns = new Map();
  for (let i = history.start; i < history.end; i += 1) {
    const column = Math.floor((history.time[history.slot(i)] - origin) / perColumn);
    if (!columns.has(column)) columns.set(column, []);
    columns.get(column).push(history.at(i));
  }
  assert.equal(points.length, columns.size);
  [...columns.values()].forEach((estimates, n) => {
    const valences = estimates.map((one) => one.valence);
    const mean = (list) => list.reduce((sum, one) => sum + one, 0) / list.length;
    assert.ok(Math.abs(points.valence.mean[n] - mean(valences)) < 1e-9);
    assert.equal(points.valence.min[n], Math.min(...valences));
    assert.equal(points.valence.max[n], Math.max(...valences));
    assert.ok(Math.abs(points.arousal.low[n] - mean(estimates.map((one) => one.arousal_low))) < 1e-9);
    assert.ok(Math.abs(points.arousal.high[n] - mean(estimates.map((one) => one.arousal_high))) < 1e-9);
  });
});

test("columns narrower than the hop keep every estimate", () => {
  const history = wave(50);
  const points = new Points();
  decimate(history, 0, 50, START / 1000, 0.05, points);
  assert.equal(points.length, 50);
  assert.ok(Math.abs(points.time[20] - 2) < 1e-6);
});

test("a gap and another session break the line", () => {
  const history = new History(100);
  history.startSession("a", "");
  for (const second of [0, 1, 2, 8, 9]) {
    history.push(estimate({ seq: second, utc: new Date(START + second * 1000).toISOString() }));
  }
  history.startSession("b", "");
  history.push(estimate({ seq: 0, utc: new Date(START + 10_000).toISOString() }));
  const points = new Points();
  decimate(history, 0, history.end, START / 1000, 0.5, points);
  assert.deepEqual([...points.broken.slice(0, 6)], [1, 0, 0, 1, 0, 1]);
});

test("an hour on 1200 columns gives at most 1201 points in reused arrays", () => {
  const history = wave(36_000);
  const points = new Points();
  decimate(history, 0, 36_000, START / 1000, 3, points);
  assert.ok(points.length <= 1201);
  const array = points.time;
  decimate(history, 0, 36_000, START / 1000, 3, points);
  assert.equal(points.time, array);
});
