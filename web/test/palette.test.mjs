import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Palette, oklabToLinear, planeOklab, toGamut } from "../mer_web/palette.js";
import { contrast, linearToOklab } from "./colour.mjs";

const THEMES = ["dark", "light"];
/** Backgrounds of the page in the style sheet. */
const GROUNDS = { dark: [[10, 12, 20], [16, 18, 28]], light: [[250, 248, 245], [243, 241, 237]] };
const AXIS = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1];

/** Colour vision in linear sRGB (Machado, Oliveira and Fernandes 2009, severity 1). */
const BLINDNESS = {
  none: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

const shown = (v, a, theme) => toGamut(planeOklab(v, a, theme));
const distance = (one, other) => Math.hypot(...one.map((part, k) => part - other[k]));
const simulate = (linear, matrix) => linearToOklab(matrix.map((row) => Math.max(0, row.reduce((sum, m, k) => sum + m * linear[k], 0))));

test("OKLab round trip", () => {
  const lab = [0.6, 0.1, -0.05];
  assert.ok(distance(linearToOklab(oklabToLinear(lab)), lab) < 1e-4);
});

/** The middle, and the eight moods at a distance from it. */
const places = (distance) => [[0, 0], ...[0, 1, 2, 3, 4, 5, 6, 7].map((k) =>
  [distance * Math.cos((k * Math.PI) / 4), distance * Math.sin((k * Math.PI) / 4)])];

/** Least distance in OKLab of two of them, a quarter of the way to the rim and at it. */
const LEAST = { none: [0.06, 0.09], protanopia: [0.017, 0.03], deuteranopia: [0.014, 0.021], tritanopia: [0.018, 0.022] };

for (const theme of THEMES) {
  test(`${theme}: every colour is in gamut, and nearly as light as the middle`, () => {
    const [middle] = planeOklab(0, 0, theme);
    for (const v of AXIS) {
      for (const a of AXIS) {
        const lab = planeOklab(v, a, theme);
        assert.ok(oklabToLinear(lab).every((part) => part >= -1e-4 && part <= 1.0001), `${v}, ${a}`);
        assert.ok(Math.abs(lab[0] - middle) <= 0.0551, `lightness ${lab[0]} at ${v}, ${a}`);
      }
    }
  });

  test(`${theme}: valence runs from blue to yellow`, () => {
    for (const valence of [0.1, 0.25, 0.6, 1]) {
      assert.ok(planeOklab(valence, 0, theme)[2] > 0.04, `${valence}`);
      assert.ok(planeOklab(-valence, 0, theme)[2] < -0.04, `${-valence}`);
    }
  });

  for (const [name, matrix] of Object.entries(BLINDNESS)) {
    test(`${theme}: the moods and the middle are distinguishable, ${name}`, () => {
      [0.25, 1].forEach((radius, at) => {
        const points = places(radius);
        const colours = points.map(([v, a]) => simulate(shown(v, a, theme), matrix));
        for (let i = 0; i < points.length; i += 1) {
          for (let j = 0; j < i; j += 1) {
            const apart = distance(colours[i], colours[j]);
            assert.ok(apart > LEAST[name][at], `${points[i]} and ${points[j]} are ${apart.toFixed(4)} apart`);
          }
        }
      });
    });
  }

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
