import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../mer_web/history.js";
import { Seconds } from "../mer_web/seconds.js";
import { estimate, fast, scaled } from "./support.mjs";

function filled(count, capacity) {
  const history = new History(capacity);
  history.startSession("a", "demo");
  for (let seq = 0; seq < count; seq += 1) history.push(estimate({ seq }));
  return history;
}

test("returns what was added", () => {
  const history = filled(1, 4);
  assert.deepEqual(history.at(0), { ...estimate({ seq: 0 }), session: "a" });
});

test("stores fast values, also in reused slots", () => {
  const history = new History(2);
  history.startSession("a", "demo");
  history.push(estimate({ seq: 0, fast: fast() }));
  history.push(estimate({ seq: 1 }));
  assert.deepEqual(history.at(0).fast, fast());
  assert.equal("fast" in history.at(1), false);
  history.push(estimate({ seq: 2 }));
  history.push(estimate({ seq: 3, fast: fast({ valence: -1 }) }));
  assert.equal("fast" in history.at(2), false);
  assert.equal(history.at(3).fast.valence, -1);
});

test("shows scaled values where there are any, also in reused slots", () => {
  const history = new History(2);
  history.push(estimate({ seq: 0, scaled: scaled() }));
  history.push(estimate({ seq: 1 }));
  assert.deepEqual(history.at(0).scaled, scaled());
  assert.equal(history.at(0).valence, estimate().valence);
  assert.equal("scaled" in history.at(1), false);
  assert.deepEqual([...history.shown.valence], [scaled().valence, estimate().valence]);
  history.push(estimate({ seq: 2 }));
  assert.equal("scaled" in history.at(2), false);
  assert.equal(history.shown.valence[0], estimate().valence);
});

test("overwrites the oldest and keeps indices", () => {
  const history = filled(10, 4);
  assert.deepEqual([history.length, history.start, history.end], [4, 6, 10]);
  assert.deepEqual([6, 7, 8, 9].map((i) => history.at(i).seq), [6, 7, 8, 9]);
});

test("drops duplicates and appends missed estimates", () => {
  const history = filled(3, 10);
  assert.equal(history.push(estimate({ seq: 2 })), false);
  assert.equal(history.push(estimate({ seq: 3 })), true);
  assert.equal(history.length, 4);
  assert.equal(history.runs.length, 1);
});

test("another session begins after the first, without its past", () => {
  const history = filled(5, 10);
  assert.equal(history.startSession("a", "demo"), false);
  assert.equal(history.startSession("b", "microphone"), true);
  assert.equal(history.push(estimate({ seq: 0, utc: new Date(Date.UTC(2026, 0, 1)).toISOString() })), false);
  assert.equal(history.push(estimate({ seq: 1, utc: new Date(Date.UTC(2026, 0, 1, 0, 1)).toISOString() })), true);
  assert.equal(history.at(history.end - 1).session, "b");
  // A live estimate is added whatever the clock of its server says.
  assert.equal(history.push(estimate({ seq: 2 }), true), true);
  assert.equal(history.runs.at(-1).session, 1);
});

test("sessions without estimates are removed", () => {
  const history = filled(1, 10);
  history.startSession("b", "");
  history.startSession("c", "");
  assert.deepEqual(history.sessions.map((one) => one.id), ["a", "c"]);
});

test("time never goes backwards", () => {
  const history = filled(3, 10);
  assert.equal(history.push(estimate({ seq: 3, utc: new Date(Date.UTC(2025, 0, 1)).toISOString() })), true);
  assert.ok(Math.abs(history.newest - history.time[history.slot(2)] - 1) < 1e-6, "stream time goes on");
  history.push(estimate({ seq: 4, utc: new Date(Date.UTC(2025, 0, 1, 0, 0, 1)).toISOString() }));
  assert.ok(Math.abs(history.newest - history.time[history.slot(2)] - 2) < 1e-6);
});

/** Pushes live estimates, one a second; the server's clock is ahead by `set(seq)` seconds. */
function run(history, from, to, set, overrides = () => ({})) {
  for (let seq = from; seq < to; seq += 1) {
    const utc = new Date(Date.UTC(2026, 0, 1) + 1000 * (seq + set(seq))).toISOString();
    history.push(estimate({ seq, utc, ...overrides(seq) }), true, 500 + seq);
  }
}

function steps(history) {
  const times = [];
  for (let i = history.start + 1; i < history.end; i += 1) times.push(history.time[i] - history.time[i - 1]);
  return times;
}

for (const set of [3600, -3600, 40, -40]) {
  test(`the server's clock is set by ${set} s and back: the axis goes on`, () => {
    const history = new History(100);
    history.startSession("a", "demo");
    run(history, 0, 30, (seq) => (seq >= 10 && seq < 20 ? set : 0));
    assert.ok(steps(history).every((step) => Math.abs(step - 1) < 1e-6), String(steps(history)));
    assert.equal(history.runs.length, 1);
  });
}

test("another session after the clock was set continues the axis", () => {
  const history = new History(100);
  history.startSession("a", "demo");
  run(history, 0, 10, (seq) => (seq >= 5 ? 3600 : 0));
  history.startSession("b", "microphone");
  run(history, 10, 20, () => 3600);
  assert.ok(steps(history).every((step) => Math.abs(step - 1) < 1e-6), String(steps(history)));
});

test("the clock is set while nothing arrives", () => {
  const history = new History(100);
  history.startSession("a", "microphone");
  run(history, 0, 10, () => 0);
  history.startSession("b", "microphone");
  run(history, 40, 50, () => 3600);
  assert.ok(Math.abs(history.time[10] - history.time[9] - 31) < 1e-6);
});

test("a real pause, and what a sleeping computer has missed, are not a clock that was set", () => {
  const history = new History(2000);
  history.startSession("a", "demo");
  run(history, 0, 3, () => 0);
  // Twenty minutes later by both clocks.
  run(history, 1200, 1203, () => 0);
  assert.ok(Math.abs(history.time[3] - history.time[2] - 1198) < 1e-6);
  // The page's computer slept, and its even clock with it; then the missed ones arrive at once.
  for (let seq = 1203; seq < 1803; seq += 1) history.push(estimate({ seq }), false, 500 + 1203);
  history.push(estimate({ seq: 1803 }), true, 500 + 1204);
  assert.ok(Math.abs(history.newest - Date.UTC(2026, 0, 1) / 1000 - 1803) < 1e-6);
  // A slow page gets only the newest.
  history.push(estimate({ seq: 1903 }), true, 500 + 1205);
  assert.ok(Math.abs(history.newest - Date.UTC(2026, 0, 1) / 1000 - 1903) < 1e-6);
});

test("the clock is set while the last values are repeated", () => {
  const history = new History(100);
  run(history, 0, 20, (seq) => (seq >= 10 ? 3600 : 0), () => ({ state: "stalled", t: 0 }));
  assert.ok(steps(history).every((step) => step >= 0 && step < 1.1), String(steps(history)));
});

test("runs of states have no gaps", () => {
  const history = new History(20);
  const states = ["settling", "settling", "tracking", "tracking", "silence", "tracking"];
  states.forEach((state, seq) => history.push(estimate({ seq, state })));
  assert.equal(history.runs.length, 4);
  for (let k = 1; k < 4; k += 1) assert.equal(history.runs[k].start, history.runs[k - 1].end);
  assert.equal(history.runs[0].end - history.runs[0].start, 2);
});

test("speech and noise are states of their own", () => {
  const history = new History(20);
  ["tracking", "speech", "noise", "birdsong"].forEach((state, seq) => history.push(estimate({ seq, state })));
  assert.deepEqual([0, 1, 2, 3].map((index) => history.at(index).state), ["tracking", "speech", "noise", "other"]);
  assert.equal(history.runs.length, 4);
});

test("lowerBound, also after the ring has wrapped", () => {
  const history = filled(10, 4);
  const base = Date.UTC(2026, 0, 1) / 1000;
  assert.equal(history.lowerBound(base + 7), 7);
  assert.equal(history.lowerBound(base + 7.5), 8);
  assert.equal(history.lowerBound(base), 6);
  assert.equal(history.lowerBound(base + 99), 10);
});

test("memory is bounded", () => {
  const history = new History(500, new Seconds(50));
  const start = Date.UTC(2026, 0, 1);
  for (let seq = 0; seq < 20_000; seq += 1) {
    history.push(estimate({ seq, utc: new Date(start + seq * 100).toISOString(), state: seq % 20 < 10 ? "silence" : "tracking" }));
  }
  assert.equal(history.length, 500);
  assert.ok(history.runs.length < 200, `${history.runs.length} runs`);
});
