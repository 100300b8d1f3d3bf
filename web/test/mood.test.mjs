import assert from "node:assert/strict";
import { test } from "node:test";

import { MOOD_LABELS } from "../mer_web/mood.js";

const at = Object.fromEntries(MOOD_LABELS.map((label) => [label.word, [Math.sign(label.valence), Math.sign(label.arousal)]]));

test("each word is at its direction", () => {
  assert.deepEqual(at, {
    pleased: [1, 0], joyful: [1, 1], excited: [0, 1], tense: [-1, 1],
    uneasy: [-1, 0], sad: [-1, -1], still: [0, -1], calm: [1, -1],
  });
});

test("words are inside the plane and aligned inwards", () => {
  for (const label of MOOD_LABELS) {
    assert.ok(Math.abs(label.valence) < 1 && Math.abs(label.arousal) < 1);
    assert.equal(label.align, { "-1": "left", 0: "center", 1: "right" }[Math.sign(label.valence)]);
  }
});
