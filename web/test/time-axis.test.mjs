import assert from "node:assert/strict";
import { test } from "node:test";

import { tickStep, ticks, timeOfDay } from "../mer_web/time-axis.js";

const NOW = Date.UTC(2026, 0, 1, 12, 0, 7) / 1000;

/** An axis of 600 pixels, with labels of 60 and 90. */
function axis(seconds, overrides = {}) {
  return { left: NOW - seconds, right: NOW, isLive: true, perMinute: seconds / 10, perSecond: seconds / 6.67, shift: 0, ...overrides };
}

test("close to now the labels tell how long ago", () => {
  const found = ticks(axis(60));
  assert.deepEqual(found.map(({ text }) => text), ["now", "−10 s", "−20 s", "−30 s", "−40 s", "−50 s", "−1 min"]);
  assert.deepEqual(found.map(({ time }) => NOW - time), [0, 10, 20, 30, 40, 50, 60]);
});

test("elsewhere they tell the time of day, at round times", () => {
  for (const [seconds, step] of [[600, 60], [3600, 600], [12 * 3600, 7200]]) {
    const [now, ...found] = ticks(axis(seconds));
    assert.equal(now.text, "now");
    assert.ok(found.length >= 3);
    found.forEach(({ time, text }, k) => {
      const zone = new Date(time * 1000).getTimezoneOffset() * 60;
      assert.equal((time - zone) % step, 0);
      assert.equal(text, timeOfDay(time, false));
      if (k) assert.equal(found[k - 1].time - time, step);
    });
  }
});

test("away from now even short views have the time of day, with seconds", () => {
  const found = ticks(axis(60, { isLive: false }));
  assert.ok(found.every(({ time, text }) => time % 10 === 0 && text === timeOfDay(time, true)));
});

test("labels never overlap, whatever the length", () => {
  for (let seconds = 30; seconds <= 12 * 3600; seconds *= 1.13) {
    for (const isLive of [true, false]) {
      const one = axis(seconds, { isLive });
      const found = ticks(one);
      const wide = found.some(({ text }) => text === timeOfDay(NOW, true)) ? one.perSecond : one.perMinute;
      found.slice(1).forEach(({ time }, k) => assert.ok(found[k].time - time >= wide - 1e-6, `${seconds} ${isLive}`));
      assert.ok(found.every(({ time }) => time >= one.left - 1e-6 && time <= one.right));
    }
  }
});

test("where the server's clock was set, labels tell its time", () => {
  const found = ticks(axis(3600, { shift: 100 }));
  assert.ok(found.slice(1).every(({ time, text }) => (time - 100) % 600 === 0 && text === timeOfDay(time - 100, false)));
});

test("steps are round", () => {
  assert.deepEqual([0.3, 5, 5.1, 61, 4000, 1e6].map(tickStep), [5, 5, 10, 120, 7200, 21_600]);
});
