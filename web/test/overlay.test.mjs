/** The style sheet of the overlay's parameters. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { parameterStyle } from "../mer_web/overlay.js";
import { readSettings } from "../mer_web/settings.js";

test("parameters become variables; the outline has the colour of the plate without its alpha", () => {
  const style = (query) => parameterStyle(/** @type {any} */ (readSettings(`?overlay=1&${query}`).overlay));
  assert.equal(style(""), ":root { --overlay-size: 1; --overlay-opacity: 0.4 }");
  assert.match(style("ground=112233cc"), /--overlay-ground: #112233cc; --overlay-outline: #112233 /);
  assert.match(style("ground=123c"), /--overlay-ground: #123c; --overlay-outline: #123 /);
  assert.match(style("font=Noto%20Serif"), /--font: "Noto Serif", system-ui, sans-serif/);
});
