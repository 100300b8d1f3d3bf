import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Announcer, LEAST_MS } from "../mer_web/announcer.js";
import { estimate } from "./support.mjs";

let said;
let announcer;
let now;

beforeEach(() => {
  said = [];
  now = 10_000;
  announcer = new Announcer((text) => said.push([now, text]));
});

test("says mood and values, once", () => {
  announcer.estimate(estimate(), now);
  now += 3000;
  announcer.estimate(estimate({ seq: 1 }), now);
  assert.deepEqual(said.map(([, text]) => text), ["calm, valence +0.3, arousal −0.5."]);
});

test("never more than once a second, whatever happens", () => {
  const moods = ["calm", "sad", "tense", "joyful"];
  for (let k = 0; k < 200; k += 1) {
    now += 100;
    announcer.estimate(estimate({ mood: moods[k % 4], valence: (k % 9) / 9 }), now);
    if (k % 7 === 0) announcer.event(`event ${k}`, now);
  }
  assert.ok(said.length > 10);
  for (let k = 1; k < said.length; k += 1) assert.ok(said[k][0] - said[k - 1][0] >= LEAST_MS);
});

test("small changes are not worth a word, large ones are, when they have lasted", () => {
  announcer.estimate(estimate({ valence: 0.2 }), now);
  now += 6000;
  announcer.estimate(estimate({ valence: 0.25 }), now);
  assert.equal(said.length, 1);
  announcer.estimate(estimate({ valence: 0.35 }), now);
  assert.equal(said.length, 2);
  now += 1500;
  announcer.estimate(estimate({ valence: 0.6 }), now);
  assert.equal(said.length, 2);
});

test("a state is said in words", () => {
  announcer.estimate(estimate({ state: "silence" }), now);
  assert.match(said[0][1], /^Silence, holding the last values\. calm/);
});

test("an event waits its turn and is not lost", () => {
  announcer.estimate(estimate(), now);
  now += 200;
  announcer.event("Connection lost.", now);
  assert.equal(said.length, 1);
  now += 900;
  announcer.tick(now);
  assert.equal(said.at(-1)[1], "Connection lost.");
});
