import assert from "node:assert/strict";
import { test } from "node:test";

import { WHOLE, areValid, cssTransform, homography, parseCorners } from "../mer_web/stage-corners.js";

const TILTED = [[0.1, 0.05], [0.9, 0.2], [0.8, 0.95], [0.05, 0.8]];

/** Where a homography brings a point. */
function apply([a, b, c, d, e, f, g, h, i], x, y) {
  const w = g * x + h * y + i;
  return [(a * x + b * y + c) / w, (d * x + e * y + f) / w];
}

test("the corners of the picture go where they were dragged", () => {
  const matrix = homography(TILTED, 1920, 1080);
  const rectangle = [[0, 0], [1920, 0], [1920, 1080], [0, 1080]];
  rectangle.forEach(([x, y], k) => {
    const [toX, toY] = apply(matrix, x, y);
    assert.ok(Math.abs(toX - TILTED[k][0] * 1920) < 1e-6 && Math.abs(toY - TILTED[k][1] * 1080) < 1e-6);
  });
});

test("straight lines stay straight: the middle goes to where the diagonals cross", () => {
  const [x, y] = apply(homography(TILTED, 1, 1), 0.5, 0.5);
  const along = ([x0, y0], [x1, y1]) => (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0);
  assert.ok(Math.abs(along(TILTED[0], TILTED[2])) < 1e-9);
  assert.ok(Math.abs(along(TILTED[1], TILTED[3])) < 1e-9);
});

test("a parallelogram needs no perspective", () => {
  const [, , , , , , g, h] = homography([[0.1, 0.1], [0.8, 0.2], [0.9, 0.9], [0.2, 0.8]], 100, 100);
  assert.ok(Math.abs(g) < 1e-12 && Math.abs(h) < 1e-12);
});

test("the whole window needs no transform", () => {
  assert.equal(cssTransform(WHOLE, 800, 600), "none");
  assert.match(cssTransform(TILTED, 800, 600), /^matrix3d\(([-+.e0-9]+,){15}[-+.e0-9]+\)$/);
});

test("mirrored, crossed and flat pictures are not valid", () => {
  assert.ok(areValid(WHOLE) && areValid(TILTED));
  assert.ok(!areValid([[1, 0], [0, 0], [0, 1], [1, 1]]));
  assert.ok(!areValid([[0, 0], [1, 1], [1, 0], [0, 1]]));
  assert.ok(!areValid([[0, 0], [1, 0], [1, 0.001], [0, 0.001]]));
});

test("what was stored is read again, and nonsense is the whole window", () => {
  assert.deepEqual(parseCorners(String(TILTED)), TILTED);
  for (const text of [null, "", "1,2", "a,b,c,d,e,f,g,h", "0,0,0,0,0,0,0,0"]) assert.equal(parseCorners(text), WHOLE);
});
