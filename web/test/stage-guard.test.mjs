import assert from "node:assert/strict";
import { test } from "node:test";

import { COLUMNS, COPY_ROWS, FlashGuard, ROWS } from "../mer_web/stage-guard.js";

const FRAME_MS = 1000 / 60;

/** A frame whose cells `colour(column, row)` tells, as sRGB bytes, and the points of the cells where they differ. */
function frame(colour, point = colour) {
  const pixels = new Uint8ClampedArray(COLUMNS * COPY_ROWS * 4).fill(255);
  for (let row = 0; row < ROWS; row += 1) {
    for (let column = 0; column < COLUMNS; column += 1) {
      pixels.set(colour(column, row), (row * COLUMNS + column) * 4);
      pixels.set(point(column, row), ((ROWS + row) * COLUMNS + column) * 4);
    }
  }
  return pixels;
}

const linear = (byte) => (byte <= 10 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const redness = ([r, g, b]) => Math.max(0, linear(r) - linear(g) - linear(b)) * 320;

/** Times of the changes of a value by a step, up and down in turn. */
function changes(values, step) {
  const times = [];
  let [low, high, direction] = [values[0], values[0], 0];
  values.forEach((value, k) => {
    low = Math.min(low, value);
    high = Math.max(high, value);
    const to = direction <= 0 && value - low >= step ? 1 : direction >= 0 && high - value >= step ? -1 : 0;
    if (!to) return;
    times.push(k * FRAME_MS);
    [low, high, direction] = [value, value, to];
  });
  return times;
}

/** The most flashes, pairs of changes, in any second. */
function mostFlashes(values, step) {
  const times = changes(values, step);
  return Math.max(0, ...times.map((from) => Math.floor(times.filter((at) => at >= from && at < from + 1000).length / 2)));
}

/** Shows frames through a guard; returns the shown colours of one cell, and the parts that were let through. */
function run(frames, cell = 13 * COLUMNS + 24) {
  const guard = new FlashGuard();
  const shown = [];
  const parts = [];
  let color = [0, 0, 0];
  frames.forEach((pixels, k) => {
    const part = guard.admit(pixels, k * FRAME_MS);
    color = color.map((byte, c) => Math.round(byte + part * (pixels[cell * 4 + c] - byte)));
    shown.push(color);
    parts.push(part);
  });
  return { shown, parts };
}

/** A strobe between two frames. */
const strobe = (hz, a, b, seconds = 4) => Array.from({ length: seconds * 60 }, (_, k) =>
  (Math.floor((k / 60) * hz * 2) % 2 ? a : b));

const BLACK = frame(() => [0, 0, 0]);
const WHITE = frame(() => [255, 255, 255]);
const RED = frame(() => [255, 0, 0]);
const BLUE = frame(() => [0, 0, 255]);

for (const hz of [4, 10, 15, 30]) {
  test(`a strobe of ${hz} Hz has at most three flashes a second`, () => {
    const bare = strobe(hz, BLACK, WHITE).map((pixels) => luminance(pixels));
    assert.ok(mostFlashes(bare, 0.1) > 3);
    const { shown } = run(strobe(hz, BLACK, WHITE));
    assert.ok(mostFlashes(shown.map(luminance), 0.1) <= 3);
    const red = run(strobe(hz, RED, BLUE)).shown;
    assert.ok(mostFlashes(red.map(redness), 20) <= 3);
    assert.ok(mostFlashes(red.map(luminance), 0.1) <= 3);
  });
}

test("reds of equal luminance count as well", () => {
  const [red, grey] = [frame(() => [255, 0, 0]), frame(() => [127, 127, 127])];
  assert.ok(Math.abs(luminance([255, 0, 0]) - luminance([127, 127, 127])) < 0.01);
  assert.ok(mostFlashes(strobe(8, red, grey).map((pixels) => redness(pixels)), 20) > 3);
  assert.ok(mostFlashes(run(strobe(8, red, grey)).shown.map(redness), 20) <= 3);
});

test("halves that flash in turn, and stripes that pass, are held back", () => {
  const left = frame((column) => (column < 24 ? [255, 255, 255] : [0, 0, 0]));
  const right = frame((column) => (column < 24 ? [0, 0, 0] : [255, 255, 255]));
  assert.ok(mostFlashes(run(strobe(10, left, right)).shown.map(luminance), 0.1) <= 3);
  const stripes = Array.from({ length: 240 }, (_, k) =>
    frame((column) => (Math.floor((column + k) / 5) % 2 ? [255, 255, 255] : [0, 0, 0])));
  assert.ok(mostFlashes(run(stripes).shown.map(luminance), 0.1) <= 3);
});

test("a fine checkerboard whose squares change places is held back", () => {
  const grey = () => [127, 127, 127];
  const [even, odd] = [0, 1].map((rest) => frame(grey, (column, row) => ((column + row) % 2 === rest ? [255, 255, 255] : [0, 0, 0])));
  const point = (ROWS + 13) * COLUMNS + 24;
  assert.ok(mostFlashes(run(strobe(10, even, odd), point).shown.map(luminance), 0.1) <= 3);
});

test("a wave that swells and falls seven times a second is held back too", () => {
  const wave = Array.from({ length: 240 }, (_, k) => {
    const byte = 128 + 120 * Math.sin((2 * Math.PI * 7 * k) / 60);
    return frame(() => [byte, byte, byte]);
  });
  assert.ok(mostFlashes(wave.map((pixels) => luminance(pixels)), 0.1) > 3);
  assert.ok(mostFlashes(run(wave).shown.map(luminance), 0.1) <= 3);
});

test("a calm picture, a small light and two flashes a second pass as they are", () => {
  const calm = Array.from({ length: 240 }, (_, k) => frame(() => [60 + k / 4, 40, 80]));
  assert.ok(run(calm).parts.every((part) => part === 1));
  const small = strobe(12, frame((column, row) => (column < 4 && row < 4 ? [255, 255, 255] : [0, 0, 0])), BLACK);
  assert.ok(run(small).parts.every((part) => part === 1));
  assert.ok(run(strobe(2, BLACK, WHITE)).parts.every((part) => part === 1));
});

test("what was held back comes within a good second", () => {
  const frames = [...strobe(15, BLACK, WHITE, 1), ...Array.from({ length: 90 }, () => WHITE)];
  assert.deepEqual(run(frames).shown.at(-1), [255, 255, 255]);
});

test("darkness by hand is counted", () => {
  const guard = new FlashGuard();
  let now = 0;
  let passed = 0;
  for (let k = 0; k < 8; k += 1) {
    if (guard.admit(WHITE, (now += 60)) === 1) passed += 1;
    guard.darken(1, (now += 60));
  }
  assert.equal(passed, 3);
});
