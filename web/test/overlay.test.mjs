/** What the badge of the overlay says, and the style sheet of its parameters. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { badgeWord, parameterStyle } from "../mer_web/overlay.js";
import { readSettings } from "../mer_web/settings.js";

const estimate = (state, mood = "calm") => /** @type {any} */ ({ state, mood });
const moment = (more = {}) => ({
  phase: "open", estimate: estimate("tracking"), stale: false, ended: false, engineFails: false, ...more,
});

test("the badge says the mood while it is one of now", () => {
  assert.deepEqual(badgeWord(moment()), { word: "calm", state: "" });
  assert.deepEqual(badgeWord(moment({ estimate: estimate("settling") })), { word: "calm", state: "" });
  assert.deepEqual(badgeWord(moment({ estimate: estimate("settling", "") })), { word: "listening", state: "settling" });
});

test("a state takes the place of the mood", () => {
  const word = (more) => badgeWord(moment(more)).word;
  assert.equal(word({ estimate: estimate("silence") }), "silence");
  assert.equal(word({ estimate: estimate("speech") }), "speech");
  assert.equal(word({ estimate: estimate("noise") }), "no music");
  assert.equal(word({ estimate: estimate("stalled") }), "no sound");
  assert.equal(word({ estimate: estimate("stalled"), engineFails: true }), "engine stopped");
  assert.equal(word({ stale: true }), "no values");
  assert.equal(word({ ended: true, stale: true }), "ended");
});

test("a lost server comes before what it said last", () => {
  assert.deepEqual(badgeWord(moment({ phase: "connecting", estimate: null })), { word: "connecting", state: "waiting" });
  assert.deepEqual(badgeWord(moment({ estimate: null })), { word: "waiting", state: "waiting" });
  for (const phase of ["waiting", "gone", "connecting"]) {
    assert.deepEqual(badgeWord(moment({ phase, stale: true })), { word: "no server", state: "lost" });
  }
});

test("parameters become variables; the outline has the colour of the plate without its alpha", () => {
  const style = (query) => parameterStyle(/** @type {any} */ (readSettings(`?overlay=1&${query}`).overlay));
  assert.equal(style(""), ":root { --overlay-size: 1; --overlay-opacity: 0.4 }");
  assert.match(style("ground=112233cc"), /--overlay-ground: #112233cc; --overlay-outline: #112233 /);
  assert.match(style("ground=123c"), /--overlay-ground: #123c; --overlay-outline: #123 /);
  assert.match(style("font=Noto%20Serif"), /--font: "Noto Serif", system-ui, sans-serif/);
});
