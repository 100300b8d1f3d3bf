/** How finely the stage is drawn: quick and slow machines, slow displays, pauses. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Fineness, HEIGHTS } from "../mer_web/stage-fineness.js";

const TALL = 2160;

/** Frames of a machine whose drawing takes a time for each pixel, and of a display with a period. */
class Machine {
  /**
   * @param {Fineness} fineness
   * @param {{perLine?: number, period?: number, most?: number, behind?: boolean}} options
   *   perLine: milliseconds for 1,080 lines; behind: of another process, so that frames only come late
   */
  constructor(fineness, { perLine = 0.5, period = 1000 / 60, most = TALL, behind = false }) {
    Object.assign(this, { fineness, perLine, period, most, behind });
    this.now = 0;
  }

  /** @param {number} seconds */
  run(seconds) {
    const heights = [];
    const end = this.now + 1000 * seconds;
    while (this.now < end) {
      const work = this.perLine * (this.fineness.height / 1080) ** 2;
      const interval = this.period * Math.max(1, Math.ceil(work / this.period));
      this.now += interval;
      this.fineness.add(this.behind ? 1 : work, interval, this.now, this.most);
      heights.push(this.fineness.height);
    }
    return heights;
  }
}

test("a quick machine draws all lines, and no more than the window has", () => {
  assert.equal(new Machine(new Fineness(true), {}).run(5).at(-1), 1080);
  assert.equal(new Machine(new Fineness(false), {}).run(8).at(-1), 1080);
  assert.equal(new Machine(new Fineness(false), { most: 500 }).run(8).at(-1), 600);
});

test("a slow one draws fewer lines until frames are in time, and does not try again at once", () => {
  for (const behind of [false, true]) {
    const machine = new Machine(new Fineness(true), { perLine: 35, behind });
    machine.run(8);
    const heights = machine.run(30);
    assert.ok(heights.every((height) => height < 810), String(new Set(heights)));
    assert.equal(machine.fineness.webgl, true);
  }
});

test("WebGL2 without a graphics processor is given up within seconds", () => {
  for (const perLine of [400, 3000]) {
    const machine = new Machine(new Fineness(true), { perLine });
    machine.run(6);
    assert.equal(machine.fineness.webgl, false);
    assert.ok(machine.fineness.height <= 450);
  }
});

test("a display with 24 or 30 frames a second is no slow machine", () => {
  for (const hz of [24, 30]) {
    for (const webgl of [true, false]) {
      const machine = new Machine(new Fineness(webgl), { period: 1000 / hz });
      machine.run(12);
      assert.ok(machine.run(60).every((height) => height === 1080));
      assert.equal(machine.fineness.webgl, webgl);
      // The window moves to another display; later, other programs leave less of the machine.
      machine.period = 1000 / 60;
      machine.run(3);
      Object.assign(machine, { perLine: 30, behind: true });
      machine.run(8);
      assert.ok(machine.run(10).every((height) => height < 1080));
    }
  }
});

test("one slow frame and a pause change nothing", () => {
  const fineness = new Fineness(true);
  const machine = new Machine(fineness, {});
  machine.run(5);
  for (const [cost, interval] of [[600, 616], [1, 900], [1, 60_000], [1, NaN]]) {
    machine.now += interval || 0;
    fineness.add(cost, interval, machine.now, TALL);
    assert.ok(machine.run(3).every((height) => height === 1080), `${cost}, ${interval}`);
  }
  assert.equal(fineness.webgl, true);
});

test("the coarsest picture stays where all are slow", () => {
  const machine = new Machine(new Fineness(false), { perLine: 2000 });
  assert.equal(machine.run(20).at(-1), HEIGHTS.at(-1));
});
