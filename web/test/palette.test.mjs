import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Palette, oklabToLinear, planeOklab, toGamut } from "../mer_web/palette.js";
import { contrast, linearToOklab } from "./colour.mjs";

const THEMES = ["dark", "light"];
/** Backgrounds of the page in the style sheet. */
const GROUNDS = { dark: [[10, 12, 20], [16, 18, 28]], light: [[250, 248, 245], [243, 241, 237]] };
const AXIS = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1];

/** Red-green blindness in linear sRGB (Machado, Oliveira and Fernandes 2009, severity 1). */
const BLINDNESS = {
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
};

const shown = (v, a, theme) => toGamut(planeOklab(v, a, theme));
const distance = (one, other) => Math.hypot(...one.map((part, k) => part - other[k]));
const simulate = (linear, matrix) => linearToOklab(matrix.map((row) => Math.max(0, row.reduce((sum, m, k) => sum + m * linear[k], 0))));

test("OKLab round trip", () => {
  const lab = [0.6, 0.1, -0.05];
  assert.ok(distance(linearToOklab(oklabToLinear(lab)), lab) < 1e-4);
});

for (const theme of THEMES) {
  test(`${theme}: more arousal is always lighter, more valence always yellower`, () => {
    for (const fixed of AXIS) {
      for (let k = 1; k < AXIS.length; k += 1) {
        const [low, high] = [shown(fixed, AXIS[k - 1], theme), shown(fixed, AXIS[k], theme)].map(linearToOklab);
        assert.ok(high[0] > low[0], `lightness at valence ${fixed}, arousal ${AXIS[k]}`);
        const [left, right] = [shown(AXIS[k - 1], fixed, theme), shown(AXIS[k], fixed, theme)].map(linearToOklab);
        assert.ok(right[2] > left[2], `yellow at valence ${AXIS[k]}, arousal ${fixed}`);
      }
    }
  });

  test(`${theme}: the four moods are distinguishable with red-green colour blindness`, () => {
    const places = [[-0.6, 0.6], [0.6, 0.6], [-0.6, -0.6], [0.6, -0.6]];
    for (const [name, matrix] of Object.entries(BLINDNESS)) {
      const colours = places.map(([v, a]) => simulate(shown(v, a, theme), matrix));
      for (let i = 0; i < 4; i += 1) {
        for (let j = 0; j < i; j += 1) {
          const apart = distance(colours[i], colours[j]);
          assert.ok(apart > 0.08, `${name}: ${places[i]} and ${places[j]} are ${apart.toFixed(3)} apart`);
        }
      }
    }
  });

  test(`${theme}: contrast is 3:1 for marks and 4.5:1 for text on every background`, () => {
    const palette = new Palette(theme);
    for (const v of AXIS) {
      for (const a of AXIS) {
        for (const ground of GROUNDS[theme]) {
          const mark = contrast(palette.bytes(v, a), ground);
          const word = contrast(palette.inkBytes(v, a), ground);
          assert.ok(mark >= 3, `mark ${v}, ${a}: ${mark.toFixed(2)}`);
          assert.ok(word >= 4.5, `word ${v}, ${a}: ${word.toFixed(2)}`);
        }
      }
    }
  });

  test(`${theme}: the colour table clamps its arguments`, () => {
    const palette = new Palette(theme);
    assert.match(palette.css(0.3, -0.2), /^rgb\(\d+,\d+,\d+\)$/);
    assert.equal(palette.css(5, 5), palette.css(1, 1));
    assert.equal(palette.css(NaN, 0), palette.css(0, 0));
    assert.match(palette.translucent(0, 0, 0.5), /^rgba\(\d+,\d+,\d+,0\.500\)$/);
  });
}

/** The colours of a theme in the style sheet. */
function sheet(theme) {
  const css = readFileSync(new URL("../mer_web/base.css", import.meta.url), "utf8");
  const block = (selector) => css.slice(css.indexOf(selector)).match(/\{([^}]*)\}/)[1];
  const text = block(":root {") + (theme === "light" ? block(':root[data-theme="light"]') : "");
  return Object.fromEntries([...text.matchAll(/--(\w+): #(\w{6});/g)].map(([, name, hex]) =>
    [name, [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16))]));
}

for (const theme of THEMES) {
  test(`${theme}: style sheet contrast is 4.5:1 for text, 3:1 for marks and focus`, () => {
    const colours = sheet(theme);
    assert.deepEqual([colours.bg, colours.sunk], GROUNDS[theme]);
    for (const ground of ["bg", "raised", "sunk"]) {
      for (const word of ["ink", "muted", "warn", "bad", "ok"]) {
        const got = contrast(colours[word], colours[ground]);
        assert.ok(got >= 4.5, `${word} on ${ground}: ${got.toFixed(2)}`);
      }
      for (const mark of ["focus", "strong"]) {
        const got = contrast(colours[mark], colours[ground]);
        assert.ok(got >= 3, `${mark} on ${ground}: ${got.toFixed(2)}`);
      }
    }
  });
}
