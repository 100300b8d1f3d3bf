import assert from "node:assert/strict";
import { test } from "node:test";

import { Spring, ViewClock } from "../mer_web/motion.js";

test("a spring starts at its first target, then follows without overshoot", () => {
  const spring = new Spring(1);
  spring.aim([0.2]);
  assert.equal(spring.value[0], 0.2);
  spring.aim([1]);
  let before = 0.2;
  for (let k = 0; k < 120; k += 1) {
    spring.step(1 / 60, 1);
    assert.ok(spring.value[0] >= before - 1e-12 && spring.value[0] <= 1 + 1e-12);
    before = spring.value[0];
  }
  assert.equal(spring.value[0], 1);
  assert.equal(spring.moving, false);
});

test("98 % of a step is done in the settling time, at any frame rate", () => {
  for (const rate of [10, 60, 144]) {
    const spring = new Spring(1);
    spring.aim([0]);
    spring.aim([1]);
    for (let k = 0; k < rate * 0.8; k += 1) spring.step(1 / rate, 0.8);
    assert.ok(Math.abs(spring.value[0] - 0.98) < 0.003, `${rate} Hz: ${spring.value[0]}`);
  }
});

test("motion is smooth, also when the target changes", () => {
  const spring = new Spring(1);
  spring.aim([0]);
  spring.aim([1]);
  const places = [];
  for (let k = 0; k < 240; k += 1) {
    if (k === 20) spring.aim([-1]);
    if (k === 60) spring.aim([0.5]);
    spring.step(1 / 60, 1);
    places.push(spring.value[0]);
  }
  for (let k = 1; k < places.length; k += 1) assert.ok(Math.abs(places[k] - places[k - 1]) < 0.09);
  // The speed is continuous too.
  for (let k = 2; k < places.length; k += 1) {
    assert.ok(Math.abs(places[k] - 2 * places[k - 1] + places[k - 2]) < 0.025);
  }
});

test("reduced motion jumps", () => {
  const spring = new Spring(2);
  spring.aim([0, 0]);
  spring.aim([1, -1], true);
  assert.deepEqual([...spring.value], [1, -1]);
  assert.equal(spring.moving, false);
});

test("the clock runs evenly with irregular estimates", () => {
  const clock = new ViewClock();
  let state = 3;
  const jitter = () => ((state = (state * 7919) % 1013) / 1013) * 0.15;
  let arrival = 0;
  const steps = [];
  let last = NaN;
  let next = 0;
  for (let frame = 0; frame < 60 * 30; frame += 1) {
    const local = frame / 60;
    while (next <= local - arrival) {
      clock.sync(1000 + next, local);
      next += 1;
      arrival = jitter();
    }
    const shown = clock.at(local);
    if (frame > 120) steps.push(shown - last);
    last = shown;
  }
  assert.ok(Math.min(...steps) > 0.012 && Math.max(...steps) < 0.022, `${Math.min(...steps)} ${Math.max(...steps)}`);
  assert.ok(Math.abs(last - 1030) < 0.3);
});

test("the clock follows a jump of the server's, and is NaN before the first estimate", () => {
  const clock = new ViewClock();
  assert.ok(Number.isNaN(clock.at(0)));
  clock.sync(100, 1);
  clock.at(1);
  clock.sync(5000, 2);
  assert.ok(Math.abs(clock.at(2) - 5000) < 1e-9);
  clock.sync(50, 3);
  assert.ok(Math.abs(clock.at(3) - 50) < 1e-9);
});

test("the clock of a recording that is replayed faster runs as fast", () => {
  const clock = new ViewClock();
  clock.setRate(20);
  let last = NaN;
  const steps = [];
  for (let frame = 0; frame < 300; frame += 1) {
    const local = frame / 60;
    // An estimate a second of the recording: twenty a second.
    if (frame % 3 === 0) clock.sync(1000 + 20 * local, local);
    const shown = clock.at(local);
    if (frame > 60) steps.push(shown - last);
    last = shown;
  }
  assert.ok(Math.min(...steps) > 0.3 && Math.max(...steps) < 0.37, `${Math.min(...steps)} ${Math.max(...steps)}`);
  assert.ok(Math.abs(last - (1000 + 20 * 299 / 60)) < 0.5);
});
