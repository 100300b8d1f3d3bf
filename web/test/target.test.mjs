import assert from "node:assert/strict";
import { test } from "node:test";

import { Target, targetLine } from "../mer_web/target.js";

const target = new Target([{ t: 10, valence: -0.5, arousal: 0.5 }, { t: 20, valence: 0.5, arousal: 0 }]);

test("the way is straight, and its ends hold before and after", () => {
  assert.deepEqual(target.at(15), { valence: 0, arousal: 0.25 });
  for (const [t, valence, arousal] of [[0, -0.5, 0.5], [10, -0.5, 0.5], [20, 0.5, 0], [99, 0.5, 0]]) {
    const place = target.at(t);
    assert.deepEqual([place.valence, place.arousal], [valence, arousal], String(t));
  }
});

test("the distance is told in words", () => {
  const place = { valence: 0.2, arousal: -0.4 };
  assert.equal(targetLine({ valence: 0.5, arousal: 0 }, place), "0.50 from the target (+0.20, −0.40)");
  assert.equal(targetLine({ valence: 0.2, arousal: -0.35 }, place), "on target (+0.20, −0.40)");
});
