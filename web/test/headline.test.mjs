import assert from "node:assert/strict";
import test from "node:test";

import { DWELL_MS, Dwell, frozenHeadline, headlineOf, waitingHeadline } from "../mer_web/headline.js";

const tracking = (mood) => headlineOf({ state: "tracking", mood }, "audio", "");

test("the word is the mood while music is heard", () => {
  assert.deepEqual(tracking("calm"), { word: "calm", line: "tracking", state: "tracking", isMood: true });
  assert.equal(headlineOf({ state: "settling", mood: "calm" }, "audio", "").word, "calm");
  assert.equal(headlineOf({ state: "settling", mood: "" }, "audio", "").isMood, false);
});

test("a state takes the place of the mood, which stays in the small line", () => {
  for (const state of ["silence", "speech", "noise"]) {
    const { word, line, isMood } = headlineOf({ state, mood: "calm" }, "audio", "");
    assert.deepEqual([word, isMood], [state, false]);
    assert.match(line, / · last: calm$/);
  }
  assert.doesNotMatch(headlineOf({ state: "silence", mood: "" }, "audio", "").line, /last/);
  assert.match(headlineOf({ state: "speech", mood: "" }, "audio", "sad").line, /last: sad/);
});

test("a stall says whose it is", () => {
  const words = ["audio", "input", "engine"].map((stall) => headlineOf({ state: "stalled", mood: "calm" }, stall, ""));
  assert.equal(new Set(words.map(({ word }) => word)).size, 3);
  assert.equal(frozenHeadline("input", "").word, words[1].word);
});

test("a state of a later server is shown by its name", () => {
  const headline = headlineOf({ state: "dreaming", mood: "calm" }, "audio", "");
  assert.deepEqual([headline.word, headline.line], ["calm", "dreaming"]);
});

test("a word stays for its least time, and what follows is the newest", () => {
  const dwell = new Dwell();
  assert.equal(dwell.offer(tracking("calm"), 0).word, "calm");
  assert.equal(dwell.offer(tracking("sad"), DWELL_MS - 1).word, "calm");
  assert.equal(dwell.offer(tracking("joyful"), DWELL_MS).word, "joyful");
  assert.equal(dwell.offer(tracking("calm"), 2 * DWELL_MS - 1).word, "joyful");
});

test("the small line of the same word changes at once", () => {
  const dwell = new Dwell();
  dwell.offer(headlineOf({ state: "settling", mood: "calm" }, "audio", ""), 0);
  assert.equal(dwell.offer(tracking("calm"), 1).line, "tracking");
});

test("what the page knows is shown at once, and so is the estimate after it", () => {
  const dwell = new Dwell();
  dwell.offer(tracking("calm"), 0);
  assert.equal(dwell.set(frozenHeadline("connection", "calm")).word, "no connection");
  assert.equal(dwell.offer(tracking("calm"), 1).word, "calm");
  assert.equal(dwell.set(waitingHeadline("choice")).state, "waiting");
});

test("the word of a past estimate gives way at once", () => {
  const dwell = new Dwell();
  dwell.offer(tracking("calm"), 0);
  dwell.release();
  assert.equal(dwell.offer(tracking("sad"), 1).word, "sad");
});
