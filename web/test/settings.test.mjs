/** Settings from the URL: what is given, what is left out, and what is not used. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { PIECES, readSettings } from "../mer_web/settings.js";

const DEFAULTS = {
  show: ["plane"], size: 1, side: "bottom-left", color: "", text: "", ground: "", font: "", plate: true, outline: false,
  opacity: 0.4,
};

/**
 * @param {string} search
 * @returns {any}
 */
const overlayOf = (search) => readSettings(`?overlay=1&${search}`).overlay;

test("the page itself", () => {
  assert.deepEqual(readSettings(""), { overlay: null, zoom: 60, stage: false, scene: "", bench: 0, faults: [] });
  assert.deepEqual(readSettings("?overlay=0&show=evil&zoom=9y&bench=0"), { overlay: null, zoom: 60, stage: false, scene: "", bench: 0, faults: [] });
  assert.deepEqual(readSettings("?zoom=10m&bench=2"), { overlay: null, zoom: 600, stage: false, scene: "", bench: 2, faults: [] });
});

test("an overlay is the plane in the lower left corner, on a plate", () => {
  assert.deepEqual(readSettings("?overlay").overlay, DEFAULTS);
  assert.deepEqual(readSettings("?overlay=1").overlay, DEFAULTS);
});

test("pieces are shown each once, in the order in which they lie above each other", () => {
  assert.deepEqual(overlayOf("show=badge").show, ["badge"]);
  assert.deepEqual(overlayOf("show=timeline,%20wash,badge,badge").show, ["wash", "badge", "timeline"]);
  assert.deepEqual(overlayOf("show=plane,badge,timeline,wash").show, PIECES);
});

test("all parameters of an overlay", () => {
  const search = "show=wash&size=1.5&side=top-right&color=f80&text=%23FFFFFF&ground=0a0c14cc&font=Noto+Sans&plate=0&opacity=.25";
  assert.deepEqual(overlayOf(search), {
    show: ["wash"], size: 1.5, side: "top-right", color: "#f80", text: "#ffffff", ground: "#0a0c14cc",
    font: "Noto Sans", plate: false, outline: true, opacity: 0.25,
  });
  assert.deepEqual(readSettings(`?overlay=1&${search}`).faults, []);
});

test("without a plate there is an outline, unless it is not wanted", () => {
  assert.equal(overlayOf("plate=0&outline=0").outline, false);
  assert.equal(overlayOf("outline=1").outline, true);
  assert.equal(overlayOf("outline=1").plate, true);
});

for (const bad of [
  "show=evil", "show=badge,evil", "show=", "size=0", "size=7", "size=big", "size=", "side=middle", "color=red", "text=12345",
  "ground=url(x)", "font=a;b", "font=%22x%22", "font=", "font=" + "x".repeat(65), "plate=maybe", "outline=2", "opacity=1.1",
  "opacity=NaN", "theme=pink",
]) {
  test(`${bad} is not used, and the console says so`, () => {
    const { overlay, faults } = readSettings(`?overlay=1&${bad}`);
    assert.deepEqual(overlay, DEFAULTS);
    assert.equal(faults.length, 1);
    const [name] = bad.split("=");
    assert.match(faults[0], new RegExp(`^the overlay ignores ${name}=.*: write `));
  });
}
