import assert from "node:assert/strict";
import { test } from "node:test";

import { rangeLine, shownValues } from "../mer_web/value-range.js";
import { estimate, scaled } from "./support.mjs";

test("scaled values are shown where there are any", () => {
  const raw = estimate();
  assert.equal(shownValues(raw), raw);
  assert.deepEqual(shownValues(estimate({ scaled: scaled() })), scaled());
});

test("the page names the range", () => {
  assert.equal(rangeLine({ range: "music", adapt: false }), "range: music");
  assert.equal(rangeLine({ range: "music", adapt: true }), "range: music, adapting");
  assert.equal(rangeLine({ range: "raw", adapt: false }), "range: raw");
  assert.equal(rangeLine({ range: "", adapt: false }), "");
});
