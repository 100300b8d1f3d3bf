/** Which streams the wall shows, where, and what its tiles say. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { parseMessage, sessionsMessage } from "../mer_web/protocol.js";
import { MAX_TILES, WallTiles } from "../mer_web/wall-tiles.js";

const SECOND = 1000;

/** An entry of a list. */
function entry(session, { seq = 0, state = "tracking", mood = "calm", own = false, uptime_s = 10, ended = null, estimate = true } = {}) {
  return {
    session, own, uptime_s, ended,
    input: { kind: own ? "file" : "browser", name: session, sample_rate_hz: 48_000, channels: 1 },
    estimate: estimate ? {
      type: "estimate", seq, t: seq, utc: "2026-01-02T03:04:05.000Z", valence: 0.2, arousal: -0.2, valence_low: 0,
      valence_high: 0.5, arousal_low: -0.5, arousal_high: 0, mood, state, level_db: -20, latency: {},
    } : null,
  };
}

/** A parsed list, as the server sends it. */
function list(...sessions) {
  return parseMessage(JSON.stringify({ type: "sessions", total: sessions.length, sessions }));
}

const places = (wall) => wall.shown.map((stream) => stream.session);

test("a list of the server is parsed, its names are cleaned, and the page asks for it", () => {
  const parsed = list(entry("a"), { ...entry("b", { estimate: false, ended: "the file is over" }), input: { name: "x\u202ey\n" } });
  assert.equal(parsed.sessions[0].estimate.seq, 0);
  assert.equal(parsed.sessions[1].estimate, null);
  assert.equal(parsed.sessions[1].ended, "the file is over");
  assert.equal(parsed.sessions[1].input.name, "x y");
  assert.throws(() => parseMessage('{"type":"sessions","total":1}'), /not a list/);
  assert.throws(() => parseMessage('{"type":"sessions","total":1,"sessions":[5]}'), /not an object/);
  assert.deepEqual(JSON.parse(sessionsMessage(true)), { type: "sessions", on: true });
});

test("the server's own stream is first, then those with music, the newest first", () => {
  const wall = new WallTiles();
  wall.update(list(entry("own", { own: true, state: "silence" }), entry("new", { uptime_s: 1 }),
                   entry("quiet", { uptime_s: 2, state: "silence" }), entry("old", { uptime_s: 3 })), 0);
  assert.deepEqual(places(wall), ["own", "new", "old", "quiet"]);
});

test("a tile stays in its place when others come and go", () => {
  const wall = new WallTiles();
  wall.update(list(entry("a"), entry("b")), 0);
  const { joined } = wall.update(list(entry("c", { uptime_s: 1 }), entry("a"), entry("b")), SECOND);
  assert.deepEqual(joined.map((stream) => stream.session), ["c"]);
  assert.deepEqual(places(wall), ["a", "b", "c"]);
  const { ended } = wall.update(list(entry("b"), entry("c")), 2 * SECOND);
  assert.deepEqual(ended.map((stream) => stream.session), ["a"]);
  assert.deepEqual(places(wall), ["a", "b", "c"]);
  assert.equal(wall.shown[0].headline.word, "ended");
  wall.update(list(entry("b"), entry("c")), 63 * SECOND);
  assert.deepEqual(places(wall), ["b", "c"]);
  assert.equal(wall.streams.size, 2);
});

test("nine fit, a newcomer takes the place of one that has ended, and the rest is counted", () => {
  const wall = new WallTiles();
  const names = Array.from({ length: MAX_TILES + 3 }, (_, k) => `s${k}`);
  const entries = names.map((name, k) => entry(name, { uptime_s: k }));
  wall.update(list(...entries), 0);
  assert.deepEqual(places(wall), names.slice(0, MAX_TILES));
  assert.equal(wall.more, 3);
  assert.equal(wall.hasRoom, false);
  wall.update(list(...entries.filter(({ session }) => session !== "s4")), SECOND);
  assert.deepEqual(places(wall), names.slice(0, MAX_TILES).with(4, "s9"));
  assert.equal(wall.more, 2);
});

test("somebody chooses other streams, and what was taken away stays away", () => {
  const wall = new WallTiles();
  const names = Array.from({ length: MAX_TILES + 1 }, (_, k) => `s${k}`);
  const message = list(...names.map((name, k) => entry(name, { uptime_s: k })));
  wall.update(message, 0);
  wall.choose("s9", true);
  assert.equal(places(wall).includes("s9"), false);
  wall.choose("s3", false);
  // The place is for the one that is chosen next.
  wall.update(message, SECOND);
  assert.equal(wall.shown.length, MAX_TILES - 1);
  wall.choose("s9", true);
  assert.deepEqual(places(wall), [...names.slice(0, 3), ...names.slice(4)]);
  wall.choose("s0", false);
  wall.update(message, SECOND);
  assert.deepEqual(places(wall), names.slice(1).filter((name) => name !== "s3"));
  wall.update(list(...message.sessions.map(({ session }) => entry(session)), entry("newcomer")), 2 * SECOND);
  assert.equal(places(wall).at(-1), "newcomer");
  wall.choose("newcomer", false);
  wall.choose("s0", true);
  assert.equal(places(wall).includes("s0"), true);
});

test("streams of one name are told apart", () => {
  const wall = new WallTiles();
  const named = (session) => ({ ...entry(session), input: { kind: "browser", name: "phone" } });
  wall.update(list(named("a"), named("b")), 0);
  assert.deepEqual(wall.shown.map((stream) => stream.label), ["phone", "phone (2)"]);
});

test("a word changes only after its dwell, and gives way to the state", () => {
  const wall = new WallTiles();
  const word = (seconds, options) => {
    wall.update(list(entry("a", { seq: seconds, ...options })), seconds * SECOND);
    return wall.shown[0].headline.word;
  };
  assert.equal(word(0, { mood: "calm" }), "calm");
  assert.equal(word(1, { mood: "sad" }), "calm");
  assert.equal(word(2, { mood: "sad" }), "sad");
  assert.equal(word(4, { mood: "sad", state: "speech" }), "speech");
  assert.equal(wall.shown[0].live, false);
  assert.equal(wall.shown[0].trail.length, 3);
  assert.equal(word(7, { mood: "sad", state: "stalled" }), "no audio");
  wall.update(list(entry("a", { seq: 7, state: "tracking" })), 20 * SECOND);
  assert.equal(wall.shown[0].headline.word, "no news");
});

test("the own stream keeps its tile after its end, and a long list ends no stream that it leaves out", () => {
  const wall = new WallTiles();
  wall.update(list(entry("own", { own: true, ended: "the file is over" }), entry("a")), 0);
  assert.equal(wall.shown[0].headline.word, "ended");
  wall.update({ ...list(entry("own", { own: true, ended: "the file is over" })), total: 70 }, 100 * SECOND);
  assert.deepEqual(places(wall), ["own", "a"]);
  assert.equal(wall.streams.get("a").ended, "");
  // Nobody knows whether it goes on: its last values are not shown as those of now.
  assert.equal(wall.streams.get("a").live, false);
  assert.equal(wall.streams.get("a").headline.word, "no news");
});

test("the wall of a server with many streams keeps only those that it shows or that are listed", () => {
  const wall = new WallTiles();
  const first = Array.from({ length: MAX_TILES + 1 }, (_, k) => entry(`s${k}`, { uptime_s: k }));
  wall.update({ ...list(...first), total: 70 }, 0);
  wall.choose("s2", false);
  for (let k = 1; k <= 100; k += 1) {
    wall.update({ ...list(entry(`a${k}`), entry(`b${k}`)), total: 70 }, k * SECOND);
    // Those of the wall, the one that was taken away, and the two of the list.
    assert.equal(wall.streams.size <= MAX_TILES + 3, true, `${wall.streams.size} streams`);
  }
  // What was taken away stays away.
  wall.update({ ...list(entry("s2")), total: 70 }, 101 * SECOND);
  assert.equal(places(wall).includes("s2"), false);
});
