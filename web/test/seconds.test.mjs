import assert from "node:assert/strict";
import { test } from "node:test";

import { Points, decimate, resolution } from "../mer_web/decimate.js";
import { History } from "../mer_web/history.js";
import { Seconds } from "../mer_web/seconds.js";
import { chooseRange } from "../mer_web/value-range.js";
import { estimate, scaled } from "./support.mjs";

const START = Date.UTC(2026, 0, 1);
const HOP_S = 0.1;

/** Ten estimates a second. */
function played(count, { capacity = 50, seconds = 1000, values = () => ({}) } = {}) {
  const history = new History(capacity, new Seconds(seconds));
  history.startSession("a", "demo");
  for (let seq = 0; seq < count; seq += 1) {
    history.push(estimate({ seq, t: seq * HOP_S, utc: new Date(START + seq * HOP_S * 1000).toISOString(), ...values(seq) }));
  }
  return history;
}

test("a second has the mean, the least and the greatest of its estimates", () => {
  const { seconds } = played(20, { values: (seq) => ({ valence: (seq % 10) / 10, valence_high: 1 }) });
  assert.equal(seconds.end, 2);
  const { shown } = seconds;
  assert.ok(Math.abs(shown.valence[1] - 0.45) < 1e-6);
  assert.deepEqual([shown.valence_min[1], Math.round(shown.valence_max[1] * 10) / 10, seconds.count[1]], [0, 0.9, 10]);
  assert.ok(Math.abs(seconds.time[1] - START / 1000 - 1.45) < 1e-6);
  assert.ok(Math.abs(seconds.t[1] - 1.45) < 1e-6);
});

test("a peak of one estimate among hours is still there when it is drawn", () => {
  const history = played(20_000, { seconds: 5000, values: (seq) => (seq === 3333 ? { valence: 0.5, arousal: -0.75 } : {}) });
  history.seconds.shown.valence.forEach((value) => assert.ok(value <= 0.5));
  const points = new Points();
  const columns = resolution(history, START / 1000, 40);
  assert.equal(columns, history.seconds);
  decimate(columns, columns.start, columns.end, START / 1000, 40, points);
  assert.equal(points.length, 50);
  assert.equal(Math.max(...points.valence.max.slice(0, 50)), 0.5);
  assert.equal(Math.min(...points.arousal.min.slice(0, 50)), -0.75);
  // The mean of a column is that of its estimates, not of its seconds.
  assert.ok(Math.abs(points.valence.mean[8] - (0.25 * 399 + 0.5) / 400) < 1e-6);
});

test("what is no longer there as received is read by the second, and the rest as received", () => {
  const history = played(500);
  assert.ok(history.oldestExact > history.oldest);
  assert.equal(resolution(history, history.oldestExact + 0.01, 0.1), history);
  assert.equal(resolution(history, history.oldest, 0.1), history.seconds);
  assert.equal(resolution(history, history.oldestExact + 0.01, 2), history.seconds);
  assert.ok(Math.abs(history.nearest(START / 1000 + 10.5).t - 10.45) < 1e-3, "a second");
  assert.ok(Math.abs(history.nearest(START / 1000 + 48.71).t - 48.7) < 1e-3, "an estimate");
});

test("memory does not grow", () => {
  const { seconds } = played(3000, { seconds: 100 });
  assert.deepEqual([seconds.end, seconds.start], [300, 200]);
  assert.equal(seconds.time.length, 100);
});

test("a gap and another session break the line", () => {
  const history = new History(100);
  history.startSession("a", "");
  for (const second of [0, 1, 2, 8, 9]) {
    history.push(estimate({ seq: second, utc: new Date(START + second * 1000).toISOString() }));
  }
  history.startSession("b", "");
  history.push(estimate({ seq: 0, utc: new Date(START + 9500).toISOString() }));
  assert.deepEqual([...history.seconds.broken.slice(0, 6)], [1, 0, 0, 1, 0, 1]);
});

test("both ranges are kept, and a switch shows the other one", () => {
  const history = played(30, { values: () => ({ scaled: scaled() }) });
  try {
    chooseRange("raw");
    history.rescale();
    assert.equal(history.shown.valence[0], estimate().valence);
    assert.equal(history.seconds.shown.valence[1], estimate().valence);
    assert.deepEqual(history.at(history.start).scaled, scaled());
  } finally {
    chooseRange("music");
  }
  history.rescale();
  assert.equal(history.shown.arousal_low[0], scaled().arousal_low);
  assert.equal(history.seconds.shown.arousal_low[1], scaled().arousal_low);
});

test("a moment long ago has its place by the second", () => {
  const history = played(500);
  assert.ok(Math.abs(history.timeOf("a", 3.2) - START / 1000 - 3.2) < 1e-6);
  assert.ok(Math.abs(history.timeOf("a", 48.72) - START / 1000 - 48.72) < 1e-6);
});
