import assert from "node:assert/strict";
import { test } from "node:test";

import { PLACES } from "../mer_web/mood.js";

const at = Object.fromEntries(PLACES.map((place) => [place.word, [Math.sign(place.valence), Math.sign(place.arousal)]]));

test("each word stands where its mood is", () => {
  assert.deepEqual(at, {
    pleased: [1, 0], joyful: [1, 1], excited: [0, 1], tense: [-1, 1],
    uneasy: [-1, 0], sad: [-1, -1], still: [0, -1], calm: [1, -1],
  });
});

test("words lie inside the plane and lean inwards", () => {
  for (const place of PLACES) {
    assert.ok(Math.abs(place.valence) < 1 && Math.abs(place.arousal) < 1);
    assert.equal(place.align, { "-1": "left", 0: "center", 1: "right" }[Math.sign(place.valence)]);
  }
});
