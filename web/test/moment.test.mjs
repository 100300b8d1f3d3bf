import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../mer_web/history.js";
import { describe, sentence } from "../mer_web/moment.js";
import { timeOfDay } from "../mer_web/time-axis.js";
import { chooseRange } from "../mer_web/value-range.js";
import { estimate, scaled } from "./support.mjs";

const UTC = Date.UTC(2026, 0, 1) / 1000;

function told(overrides, ghost = null) {
  const history = new History(4);
  history.push(estimate({ seq: 0, ...overrides }));
  return describe(history.nearest(UTC), UTC + 90, ghost);
}

test("a moment has its time, mood and both values with their intervals", () => {
  assert.deepEqual(told({}), {
    valence: 0.25, arousal: -0.5, title: `${timeOfDay(UTC, true)}, 1 min ago`, mood: "calm",
    rows: [["valence", "+0.25", "+0.00 … +0.50"], ["arousal", "−0.50", "−0.75 … −0.25"]],
  });
});

test("scaled values have the raw ones below them, unless those are shown", () => {
  assert.deepEqual(told({ scaled: scaled() }).rows, [
    ["valence", "+0.75", "+0.00 … +1.00"], ["arousal", "−1.00", "−1.00 … −0.50"], ["raw", "+0.25", "−0.50"]]);
  chooseRange("raw");
  assert.deepEqual(told({ scaled: scaled() }).rows.map(([name]) => name), ["valence", "arousal"]);
  chooseRange("music");
});

test("a state other than tracking, and the other session, are told", () => {
  const text = told({ state: "speech", mood: "" }, { name: "other", place: { valence: 0.1, arousal: 0 } });
  assert.equal(text.mood, "speech");
  assert.deepEqual(text.rows.at(-1), ["other", "+0.10", "+0.00"]);
  assert.match(sentence(text), /1 min ago; speech; valence \+0\.25, .*; other \+0\.10, \+0\.00$/);
});
