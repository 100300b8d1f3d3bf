import assert from "node:assert/strict";
import { test } from "node:test";

import { Breath } from "../mer_web/breath.js";

const FRAME_S = 1 / 60;
const pulse = (level, onset, bands = [level, level, level, level, level, level]) =>
  ({ level, onset, bands: new Float32Array(bands), live: true });

/** Steps through seconds of music; returns what the breath was in each frame. */
function run(breath, seconds, at, isMusic = true) {
  const frames = [];
  for (let t = 0; t < seconds; t += FRAME_S) {
    breath.step(FRAME_S, at(t), isMusic);
    frames.push({ swell: breath.swell, beat: breath.beat });
  }
  return frames;
}

/** How often a course rises by more than a tenth from a low. */
function rises(values, step = 0.1) {
  let low = Infinity;
  let high = -Infinity;
  let count = 0;
  for (const value of values) {
    if (value > low + step && high === -Infinity) {
      count += 1;
      high = value;
    }
    if (high !== -Infinity) {
      high = Math.max(high, value);
      if (value < high - step) {
        low = value;
        high = -Infinity;
      }
    } else {
      low = Math.min(low, value);
    }
  }
  return count;
}

test("the glow follows loud music within two seconds, and silence too", () => {
  const breath = new Breath();
  run(breath, 2, () => pulse(0.9, 0));
  assert.ok(breath.swell > 0.85, `${breath.swell}`);
  assert.ok(breath.presence > 0.95);
  run(breath, 6, () => pulse(0, 0));
  assert.equal(breath.swell, 0);
});

test("no rhythm makes the glow or the beat rise more than three times a second", () => {
  for (const rate of [2, 4, 8, 15, 25]) {
    const breath = new Breath();
    run(breath, 3, () => pulse(0.5, 0));
    const gate = (t) => ((t * rate) % 1 < 0.5 ? pulse(1, 1) : pulse(0, 0));
    const frames = run(breath, 10, gate);
    const glows = rises(frames.map(({ swell }) => swell));
    const beats = rises(frames.map(({ beat }) => beat));
    assert.ok(glows <= 30 && beats <= 30, `${rate} Hz: ${glows} glows, ${beats} beats in 10 s`);
  }
});

test("without pulses, and in a view that stands still, it comes to rest", () => {
  for (const rest of [() => null, () => ({ ...pulse(1, 1), live: false })]) {
    const breath = new Breath();
    run(breath, 2, () => pulse(1, 1));
    assert.ok(breath.moving);
    run(breath, 12, rest);
    assert.ok(!breath.moving);
    assert.deepEqual([...breath.bands], [0, 0, 0, 0, 0, 0]);
  }
});

test("values that are repeated do not breathe, although pulses arrive", () => {
  const breath = new Breath();
  run(breath, 12, () => pulse(1, 1), false);
  assert.deepEqual([breath.swell, breath.beat, breath.presence, breath.moving], [0, 0, 0, false]);
});

test("with reduced motion nothing moves", () => {
  const breath = new Breath();
  run(breath, 1, () => pulse(1, 1));
  breath.rest(true);
  assert.deepEqual([breath.swell, breath.beat, breath.presence], [0, 0, 1]);
  breath.rest(true);
  assert.ok(!breath.moving);
});
