import assert from "node:assert/strict";
import { test } from "node:test";

import { LONGEST_S, SHORTEST_S, TimeWindow, behindText } from "../mer_web/time-window.js";

/** A view of the last `seconds` of a history of 2 h. */
function opened(seconds = 600, duration = 7200) {
  const window = new TimeWindow(seconds);
  window.follow(100_000, 100_000 - duration);
  return window;
}

test("the moment under the pointer stays where it is", () => {
  for (const share of [0, 0.25, 0.5, 0.9]) {
    const window = opened();
    window.pan(-1800);
    const under = window.right - (1 - share) * window.seconds;
    assert.equal(window.zoom(0.5, share), true);
    assert.equal(window.seconds, 300);
    assert.ok(Math.abs(window.right - (1 - share) * window.seconds - under) < 1e-6);
  }
});

test("zooming at the right edge goes on following", () => {
  const window = opened();
  window.zoom(0.5, 1);
  assert.deepEqual([window.isLive, window.right], [true, 100_000]);
});

test("zooming in elsewhere leaves now, and out again returns", () => {
  const window = opened();
  window.zoom(0.5, 0.5);
  assert.deepEqual([window.isLive, window.behind], [false, 150]);
  window.zoom(4, 0.5);
  assert.equal(window.isLive, true);
});

test("lengths end at half a minute and at what the history holds", () => {
  const window = opened();
  while (window.zoom(0.5, 1));
  assert.equal(window.seconds, SHORTEST_S);
  while (window.zoom(2, 1));
  assert.equal(window.seconds, 1.05 * 7200);
  const long = opened(600, 90_000);
  while (long.zoom(2, 1));
  assert.equal(long.seconds, LONGEST_S);
  const short = opened(60, 20);
  while (short.zoom(2, 1));
  assert.equal(short.seconds, 3600);
});

test("a view that was moved back stays while new moments come", () => {
  const window = opened();
  window.pan(-1000);
  window.follow(100_060, 92_800);
  assert.deepEqual([window.right, window.behind], [99_000, 1060]);
  window.goLive();
  assert.deepEqual([window.isLive, window.right], [true, 100_060]);
});

test("nothing before the oldest moment and after now is shown", () => {
  const window = opened();
  window.pan(-1e6);
  assert.equal(window.right - window.seconds, 100_000 - 7200);
  // The history forgets what is shown.
  window.follow(100_500, 95_000);
  assert.equal(window.right, 95_600);
  window.pan(1e6);
  assert.equal(window.isLive, true);
});

test("a history shorter than the view cannot be moved", () => {
  const window = opened(600, 100);
  window.pan(-50);
  assert.equal(window.isLive, true);
});

test("all grows with the history, in steps", () => {
  const window = opened();
  window.showAll();
  assert.ok(window.seconds >= 7200 && window.seconds < 7200 * 1.25);
  const lengths = new Set();
  for (let now = 100_000; now < 103_000; now += 10) {
    window.follow(now, 92_800);
    lengths.add(window.seconds);
    assert.ok(window.seconds >= now - 92_800);
  }
  assert.ok(lengths.size <= 3);
  window.setLength(60);
  window.follow(104_000, 92_800);
  assert.equal(window.seconds, 60);
});

test("a moment outside is moved into the view", () => {
  const window = opened();
  window.reveal(97_000);
  assert.ok(window.right - window.seconds < 97_000 && window.right > 97_000);
  window.reveal(99_990);
  assert.ok(window.right >= 99_990);
});

test("before any estimate nothing moves", () => {
  const window = new TimeWindow(60);
  window.follow(NaN, Infinity);
  window.pan(-10);
  window.zoom(0.5, 0.2);
  window.showAll();
  assert.equal(window.isLive, true);
  assert.equal(Number.isFinite(window.seconds), true);
});

test("how far back, in words", () => {
  assert.deepEqual([0.2, 12, 7500].map(behindText), ["now", "12 s ago", "2 h 5 min ago"]);
});
