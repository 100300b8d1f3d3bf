import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import {
  axisName, chooseRange, rangeLine, readRange, setHasMusic, shownRange, shownValues,
} from "../mer_web/value-range.js";
import { estimate, scaled } from "./support.mjs";

afterEach(() => {
  chooseRange("music");
  setHasMusic(null);
});

test("scaled values are shown where there are any", () => {
  const raw = estimate();
  assert.equal(shownValues(raw), raw);
  assert.deepEqual(shownValues(estimate({ scaled: scaled() })), scaled());
});

test("raw values are shown where they are chosen", () => {
  const both = estimate({ scaled: scaled() });
  chooseRange("raw");
  assert.equal(shownValues(both), both);
  chooseRange("music");
  assert.equal(shownValues(both), both.scaled);
});

test("the page's address chooses the range; another value is music", () => {
  readRange("?range=raw");
  assert.equal(shownRange(), "raw");
  readRange("?range=loud");
  assert.equal(shownRange(), "music");
});

test("an axis names the range, once it is known", () => {
  assert.equal(axisName("valence"), "valence");
  setHasMusic(true);
  assert.equal(axisName("valence"), "valence, among music");
  chooseRange("raw");
  assert.equal(axisName("arousal"), "arousal, raw");
  chooseRange("music");
  setHasMusic(false);
  assert.equal(axisName("arousal"), "arousal, raw");
});

test("the page names the range", () => {
  assert.equal(rangeLine({ range: "music", adapt: false }), "range: music");
  assert.equal(rangeLine({ range: "music", adapt: true }), "range: music, adapting");
  assert.equal(rangeLine({ range: "raw", adapt: false }), "range: raw");
  assert.equal(rangeLine({ range: "", adapt: false }), "");
});
