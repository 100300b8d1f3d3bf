import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Announcer, MIN_INTERVAL_MS } from "../mer_web/announcer.js";
import { estimate } from "./support.mjs";

let lines;
let announcer;
let now;

beforeEach(() => {
  lines = [];
  now = 10_000;
  announcer = new Announcer((text) => lines.push([now, text]));
});

test("announces mood and values once", () => {
  announcer.estimate(estimate(), now);
  now += 3000;
  announcer.estimate(estimate({ seq: 1 }), now);
  assert.deepEqual(lines.map(([, text]) => text), ["calm, valence +0.3, arousal −0.5."]);
});

test("announces at most once a second", () => {
  const moods = ["calm", "sad", "tense", "joyful"];
  for (let k = 0; k < 200; k += 1) {
    now += 100;
    announcer.estimate(estimate({ mood: moods[k % 4], valence: (k % 9) / 9 }), now);
    if (k % 7 === 0) announcer.event(`event ${k}`, now);
  }
  assert.ok(lines.length > 10);
  for (let k = 1; k < lines.length; k += 1) assert.ok(lines[k][0] - lines[k - 1][0] >= MIN_INTERVAL_MS);
});

test("announces large changes only, and not too often", () => {
  announcer.estimate(estimate({ valence: 0.2 }), now);
  now += 6000;
  announcer.estimate(estimate({ valence: 0.25 }), now);
  assert.equal(lines.length, 1);
  announcer.estimate(estimate({ valence: 0.35 }), now);
  assert.equal(lines.length, 2);
  now += 1500;
  announcer.estimate(estimate({ valence: 0.6 }), now);
  assert.equal(lines.length, 2);
});

test("announces the state", () => {
  announcer.estimate(estimate({ state: "silence" }), now);
  assert.match(lines[0][1], /^Silence, last values\. calm/);
});

test("announces speech and noise, also before any music", () => {
  announcer.estimate(estimate({ state: "speech", mood: "" }), now);
  now += 3000;
  announcer.estimate(estimate({ state: "noise", mood: "sad" }), now);
  assert.match(lines[0][1], /^Speech, last values\. no mood yet, valence/);
  assert.match(lines[1][1], /^Noise, last values\. sad, valence/);
});

test("an event is delayed and not lost", () => {
  announcer.estimate(estimate(), now);
  now += 200;
  announcer.event("Connection lost.", now);
  assert.equal(lines.length, 1);
  now += 900;
  announcer.tick(now);
  assert.equal(lines.at(-1)[1], "Connection lost.");
});

test("says whether a stall is that of the audio or of the engine", () => {
  announcer.estimate(estimate({ state: "stalled" }), now);
  now += 3000;
  announcer.engineFails = true;
  announcer.estimate(estimate({ state: "stalled" }), now);
  now += 3000;
  announcer.estimate(estimate(), now);
  assert.deepEqual(lines.map(([, text]) => text.replace(/ calm, .*/, "")), [
    "No audio arrives, last values.", "The engine does not work, last values.", "calm, valence +0.3, arousal −0.5.",
  ]);
});
