/** How finely the stage is drawn: quick and slow machines, slow displays, pauses. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Fineness, HEIGHTS } from "../mer_web/stage-fineness.js";

const TALL = 2160;

/** Frames of a machine whose drawing takes a time for each pixel, and of a display with a period. */
class Machine {
  /**
   * @param {boolean} webgl
   * @param {{work?: number, flat?: number, period?: number, most?: number, behind?: boolean, busy?: number, least?: number}} options
   *   work: milliseconds of a frame of 1,080 lines; flat: the same without WebGL2; busy: more of any frame, with a
   *   share `least` of it in every third one; behind: all this is another process's work, so that frames only come late
   */
  constructor(webgl, options = {}) {
    this.fineness = new Fineness(webgl);
    this.webgl = webgl;
    this.now = 0;
    this.set({ work: 0.5, flat: 0.5, period: 1000 / 60, most: TALL, behind: false, busy: 0, least: 1, ...options });
  }

  /** @param {object} options */
  set(options) {
    Object.assign(this, options);
  }

  /**
   * @param {number} seconds
   * @returns {number[]} the heights of the frames
   */
  run(seconds) {
    const heights = [];
    const end = this.now + 1000 * seconds;
    while (this.now < end) {
      const { height } = this.fineness;
      heights.push(Math.min(height, this.most));
      const work = this.busy * (heights.length % 3 ? 1 : this.least) + (this.webgl ? this.work : this.flat) * (heights.at(-1) / 1080) ** 2;
      const interval = this.period * Math.max(1, Math.ceil(work / this.period));
      this.now += interval;
      const cost = this.behind ? 1 : work;
      this.webgl = this.fineness.add(cost, interval, this.now, this.most, this.webgl);
    }
    return heights;
  }
}

const all = (/** @type {number[]} */ heights) => [...new Set(heights)].join(", ");

test("a quick machine draws all lines, and no more than the window has", () => {
  for (const webgl of [true, false]) {
    assert.equal(all(new Machine(webgl).run(60).slice(600)), "1080");
    assert.equal(all(new Machine(webgl, { most: 500 }).run(60).slice(600)), "500");
  }
});

test("a slow one draws fewer lines until frames are in time, and does not try again at once", () => {
  for (const behind of [false, true]) {
    const machine = new Machine(true, { work: 35, behind });
    machine.run(8);
    const heights = machine.run(50);
    assert.ok(Math.max(...heights) < 810, all(heights));
    assert.ok(Math.min(...heights) > 300, all(heights));
    assert.equal(machine.webgl, true);
  }
});

test("lines that a small window does not have are no steps", () => {
  const machine = new Machine(true, { most: 450, work: 25, busy: 14, behind: true });
  machine.run(3);
  assert.ok(Math.max(...machine.run(50)) < 450);
});

test("WebGL2 without a graphics processor is left within seconds", () => {
  for (const work of [400, 1500]) {
    const machine = new Machine(true, { work });
    machine.run(12);
    assert.equal(machine.webgl, false);
    assert.equal(machine.run(40).at(-1), 1080);
  }
});

test("a weak graphics processor, or a busy one, keeps WebGL2", () => {
  const machine = new Machine(true, { most: 1080 });
  machine.run(20);
  machine.set({ work: 45 }); // another scene
  machine.run(10);
  assert.ok(machine.run(40).every((height) => height <= 600));
  machine.set({ busy: 50, work: 1 });
  machine.run(2);
  machine.set({ busy: 0 });
  machine.run(80);
  assert.equal(machine.webgl, true);
  assert.equal(machine.run(1).at(-1), 1080);
});

test("a display with 24 or 30 frames a second is no slow machine", () => {
  for (const hz of [24, 30]) {
    for (const webgl of [true, false]) {
      for (const busy of [0, 30]) {
        const machine = new Machine(webgl, { period: 1000 / hz, busy });
        machine.run(8);
        machine.set({ busy: 0 });
        machine.run(80);
        assert.equal(all(machine.run(60)), "1080", `${hz} Hz, ${webgl}, ${busy}`);
        assert.equal(machine.webgl, webgl && !busy);
        // The window moves to another display; later, other programs leave less of the machine.
        machine.set({ period: 1000 / 60 });
        machine.run(3);
        machine.set({ work: 30, flat: 30, behind: true });
        machine.run(8);
        assert.ok(Math.max(...machine.run(10)) < 1080);
      }
    }
  }
});

test("a machine that was busy is no slow display", () => {
  const machine = new Machine(true, { busy: 40, least: 0.3, behind: true });
  machine.run(20);
  machine.set({ busy: 0, work: 45 });
  machine.run(150);
  // Once a minute, one second of more lines is tried.
  const heights = machine.run(60);
  assert.ok(heights.filter((height) => height > 600).length < 0.05 * heights.length, all(heights));
});

test("one slow frame and a pause change nothing", () => {
  const machine = new Machine(true);
  machine.run(5);
  for (const [cost, interval] of [[600, 616], [1, 900], [1, 60_000], [1, NaN]]) {
    machine.now += interval || 0;
    assert.equal(machine.fineness.add(cost, interval, machine.now, TALL, true), true);
    assert.equal(all(machine.run(3)), "1080", `${cost}, ${interval}`);
  }
});

test("the coarsest picture stays where all are slow", () => {
  const machine = new Machine(false, { flat: 2000 });
  machine.run(10);
  assert.equal(all(machine.run(60)), String(HEIGHTS.at(-1)));
});
