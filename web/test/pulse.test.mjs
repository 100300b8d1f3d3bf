import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { PulseFeed } from "../mer_web/pulse.js";
import "./support.mjs";

class Page extends EventTarget {
  hidden = false;

  hide(hidden) {
    this.hidden = hidden;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

class FakeConnection extends EventTarget {
  phase = { name: "connecting" };
  sent = [];

  send(text) {
    this.sent.push(JSON.parse(text));
    return true;
  }

  enter(name) {
    this.phase = { name };
    this.dispatchEvent(new CustomEvent("phase", { detail: this.phase }));
  }

  receive(message) {
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }
}

let connection;
let page;
let ms;
let feed;

beforeEach(() => {
  connection = new FakeConnection();
  page = new Page();
  ms = 5000;
  feed = new PulseFeed(connection, { now: () => ms, page });
});

/** A message of `count` pulses, 20 ms apart. */
function pulses(t, { count = 3, level_db = 0, bands = [1, 1, 1, 0.5, 0, 0], onset = 0 } = {}) {
  return { type: "pulse", pulses: Array.from({ length: count }, (_, k) => ({ t: t + 0.02 * k, level_db, bands, onset })) };
}

/** Runs the stream for some seconds: a message every 60 ms. Returns the state after each frame of 16 ms. */
function play(seconds, from, options = {}) {
  const states = [];
  const start = ms;
  let sent = 0;
  for (; ms < start + 1000 * seconds; ms += 16) {
    while (sent * 60 <= ms - start) {
      connection.receive(pulses(from + 0.06 * sent, options));
      sent += 1;
    }
    const { level, bands, onset, live } = feed.at(ms);
    states.push({ level, bands: [...bands], onset, live });
  }
  return states;
}

test("is 0 and not live before any pulse", () => {
  assert.deepEqual({ ...feed.at(ms), bands: [...feed.at(ms).bands] },
                   { level: 0, bands: [0, 0, 0, 0, 0, 0], onset: 0, live: false });
});

test("follows the level and the bands, and is live", () => {
  const last = play(1, 0).at(-1);
  assert.ok(last.level > 0.99 && last.live);
  assert.ok(last.bands[0] > 0.99 && Math.abs(last.bands[3] - 0.5) < 0.01 && last.bands[4] === 0);
});

test("rises at once and falls slowly", () => {
  play(1, 0, { level_db: -60 });
  const rise = play(0.3, 1.02, { level_db: 0 });
  assert.ok(rise[8].level > 0.9);
  const fall = play(1, 1.38, { level_db: -60 });
  assert.ok(fall[8].level > 0.3 && fall.at(-1).level < 0.05);
});

test("levels at -60 dB and below are 0, above 0 dB 1", () => {
  assert.ok(Math.abs(play(1, 0, { level_db: -30 }).at(-1).level - 0.5) < 0.01);
  assert.ok(Math.abs(play(2, 1.02, { level_db: -120 }).at(-1).level) < 0.01);
  assert.ok(play(1, 3.06, { level_db: 6 }).every(({ level }) => level <= 1));
});

test("an onset is over after a quarter of a second", () => {
  play(0.5, 0);
  connection.receive(pulses(0.54, { onset: 1, count: 1 }));
  let peak = 0;
  for (let k = 0; k < 10; k += 1, ms += 8) peak = Math.max(peak, feed.at(ms).onset);
  assert.ok(peak > 0.8);
  ms += 250;
  assert.ok(feed.at(ms).onset < 0.06);
});

test("plays the pulses of a message one by one", () => {
  connection.receive({ type: "pulse", pulses: [
    { t: 1, level_db: 0, bands: [1, 1, 1, 1, 1, 1], onset: 0 },
    { t: 1.1, level_db: 0, bands: [1, 1, 1, 1, 1, 1], onset: 1 },
  ] });
  assert.equal(feed.at(ms + 90).onset, 0);
  assert.equal(feed.at(ms + 100).onset, 1);
});

test("does not depend on the frame rate", () => {
  const run = (step) => {
    const other = new PulseFeed(new FakeConnection(), { now: () => 0, page });
    other._receive(pulses(0, { count: 10, onset: 0.5 }));
    for (let at = 0; at < 200; at += step) other.at(at);
    const { level, onset } = other.at(200);
    return { level, onset };
  };
  const fine = run(4);
  const coarse = run(100);
  assert.ok(Math.abs(fine.level - coarse.level) < 1e-9 && Math.abs(fine.onset - coarse.onset) < 1e-9);
});

test("falls to 0 when pulses stop, and is not live", () => {
  play(1, 0);
  ms += 900;
  assert.equal(feed.at(ms).live, true);
  ms += 500;
  feed.at(ms);
  ms += 3000;
  const { level, live } = feed.at(ms);
  assert.ok(level < 1e-6 && !live);
});

test("a message that comes late delays those after it only for a while", () => {
  play(1, 0);
  // It shows at once.
  for (const end = ms + 200; ms < end; ms += 16) feed.at(ms);
  connection.receive(pulses(1.02, { count: 3, onset: 1 }));
  assert.ok(feed.at(ms).onset > 0.7);
  // Those after it are on time again.
  ms = 5000 + 1080;
  play(3, 1.08);
  const from = ms;
  connection.receive(pulses(4.12, { count: 1, onset: 1, level_db: 0 }));
  while (feed.at(ms).onset < 0.5) ms += 1;
  assert.ok(ms - from < 100, `${ms - from} ms`);
});

test("another session starts at its own time", () => {
  play(1, 1000);
  connection.receive({ type: "hello" });
  connection.receive(pulses(2, { count: 1, onset: 1 }));
  assert.equal(feed.at(ms).onset, 1);
});

test("a page that draws nothing keeps few pulses", () => {
  for (let k = 0; k < 1000; k += 1, ms += 60) connection.receive(pulses(0.06 * k));
  assert.ok(feed._waiting.length <= 100);
});

test("asks when the connection opens, again after each loss, and not while nobody sees it", () => {
  assert.deepEqual(connection.sent, []);
  connection.enter("open");
  connection.enter("waiting");
  connection.enter("open");
  page.hide(true);
  page.hide(true);
  page.hide(false);
  assert.deepEqual(connection.sent.map((one) => one.on), [true, true, false, true]);
  assert.ok(connection.sent.every((one) => one.type === "pulse"));
});

test("a page that opens in the background asks when it is seen", () => {
  page.hide(true);
  connection.enter("open");
  assert.deepEqual(connection.sent, []);
  page.hide(false);
  assert.deepEqual(connection.sent, [{ type: "pulse", on: true }]);
});
