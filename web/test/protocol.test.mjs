import assert from "node:assert/strict";
import { test } from "node:test";

import { ProtocolError, STATES, parseMessage, pulseMessage, repeats, socketUrl, startMessage } from "../mer_web/protocol.js";
import { estimate, fast, hello, scaled } from "./support.mjs";

const parse = (message) => parseMessage(JSON.stringify(message));

test("an estimate keeps all fields", () => {
  const sent = estimate({ seq: 7, valence: 0.123456 });
  assert.deepEqual(parse(sent), sent);
});

test("scaled values are optional and validated", () => {
  const sent = estimate({ scaled: scaled(), fast: fast({ scaled: scaled({ valence: 0.5 }) }) });
  assert.deepEqual(parse(sent), sent);
  assert.equal("scaled" in parse(estimate({ fast: fast() })).fast, false);
  assert.equal(parse(estimate({ scaled: scaled({ valence_low: 1 }) })).scaled.valence_low, 0.75);
  assert.throws(() => parse(estimate({ scaled: scaled({ arousal: "0" }) })), /arousal is not a finite number/);
});

test("fast values are optional and validated", () => {
  const sent = estimate({ fast: fast() });
  assert.deepEqual(parse(sent), sent);
  assert.equal("fast" in parse(estimate()), false);
  const clamped = parse(estimate({ fast: fast({ valence: 2, arousal_low: 0 }) })).fast;
  assert.equal(clamped.valence, 1);
  assert.equal(clamped.valence_high, 1);
  assert.equal(clamped.arousal_low, -0.25);
});

test("before any music there is no mood", () => {
  assert.equal(parse(estimate({ mood: null, state: "silence" })).mood, "");
});

test("silence, speech, noise and a stall repeat the last values", () => {
  assert.deepEqual(STATES.filter(repeats), ["silence", "stalled", "speech", "noise"]);
  assert.equal(repeats("birdsong"), false);
});

test("values are clamped to the plane, and the interval contains its value", () => {
  const got = parse(estimate({ valence: 1.5, valence_low: 0.9, valence_high: 0.2, arousal: 0.4, arousal_low: 0.6 }));
  assert.equal(got.valence, 1);
  assert.equal(got.valence_high, 1);
  assert.ok(got.valence_low <= got.valence);
  assert.equal(got.arousal_low, 0.4);
});

for (const [what, change] of Object.entries({
  "a string for a value": { valence: "0.5" }, "null for a value": { arousal: null }, "no seq": { seq: undefined },
  "half a seq": { seq: 0.5 },
  "an invalid time": { utc: "yesterday" }, "no state": { state: undefined }, "a list of latencies": { latency: [] },
  "a number for fast values": { fast: 3 }, "fast values without a window": { fast: { ...fast(), window_s: undefined } },
  "a string for a fast value": { fast: fast({ arousal: "0" }) },
})) {
  test(`an estimate with ${what} is refused`, () => {
    assert.throws(() => parse(estimate(change)), ProtocolError);
  });
}

test("invalid messages throw, unknown types are ignored", () => {
  assert.throws(() => parseMessage("{"), /not JSON/);
  assert.throws(() => parseMessage("[1]"), ProtocolError);
  assert.throws(() => parseMessage("{}"), /without a type/);
  assert.equal(parseMessage('{"type":"weather"}'), null);
});

test("a hello may have a backend note", () => {
  assert.equal(parse(hello("s")).backend_note, "");
  assert.equal(parse(hello("s", { backend_note: "the card\u0000 failed" })).backend_note.includes("failed"), true);
});

test("another schema asks for a reload", () => {
  assert.throws(() => parse(hello("s", { schema: 2 })), /schema 2.*schema 1.*reload/s);
});

test("names from outside are cleaned and shortened", () => {
  const name = "a\u202eb\u0000c\n<img src=x onerror=alert(1)>" + "x".repeat(500);
  const got = parse(hello("s", { input: { kind: "demo", name } }));
  assert.doesNotMatch(got.input.name, /[\u0000-\u001f\u202e]/);
  assert.ok(got.input.name.startsWith("a b c <img"));
  assert.ok(got.input.name.length <= 80);
});

test("a deep or endless message is refused, or ignored, without harm", () => {
  const deep = "[".repeat(200_000) + "]".repeat(200_000);
  assert.equal(parseMessage(`{"type":"weather","more":${deep}}`), null);
  assert.throws(() => parseMessage(`{"type":"estimate","seq":${deep}}`), ProtocolError);
  assert.throws(() => parseMessage(deep), ProtocolError);
  assert.throws(() => parseMessage("[".repeat(200_000)), /not JSON/);
  const counters = Object.fromEntries(Array.from({ length: 5000 }, (_, k) => [`counter_${k}`, 1]));
  assert.ok(Object.keys(parse({ type: "health", counters }).counters).length <= 40);
});

test("a role is control without tokens; a recording is named", () => {
  assert.equal(parse(hello("s")).role, "control");
  assert.equal(parse(hello("s", { role: "view" })).role, "view");
  assert.equal(parse(hello("s", { recording: 1 })).recording, false);
  assert.equal(parse(hello("s", { recording: true })).recording, true);
});

test("every estimate of a snapshot is validated", () => {
  const got = parse({ type: "snapshot", session: "s", estimates: [estimate({ seq: 1 }), estimate({ seq: 2 })], complete: true });
  assert.deepEqual(got.estimates.map((one) => one.seq), [1, 2]);
  assert.throws(() => parse({ type: "snapshot", session: "s", estimates: [{}], complete: true }), ProtocolError);
});

test("health keeps only numeric counters", () => {
  const got = parse({ type: "health", session: "s", counters: { overflows: 3, odd: "x" }, viewers: 2, sessions: 1, uptime_s: 5 });
  assert.deepEqual(got.counters, { overflows: 3 });
});

test("the socket URL is next to the page's, secure if the page is, with the resume position", () => {
  assert.equal(socketUrl("http://127.0.0.1:8765/?theme=dark#x", null), "ws://127.0.0.1:8765/ws");
  assert.equal(socketUrl("https://host/mer/", { session: "a b&c", seq: 12 }), "wss://host/mer/ws?session=a+b%26c&since=12");
});

test("start message: integer rate and default name", () => {
  assert.deepEqual(JSON.parse(startMessage(47999.99, "")),
                   { type: "start", sample_rate_hz: 48000, channels: 1, format: "f32le", name: "browser" });
});

test("markers and changes of the music are cleaned", () => {
  const utc = "2026-01-01T00:00:00Z";
  assert.deepEqual(parse({ type: "marker", t: 3.5, utc, text: " opens\u0007 eyes " }),
                   { type: "marker", t: 3.5, utc, text: "opens eyes" });
  assert.equal(parse({ type: "marker", t: 0, utc, text: "x".repeat(900) }).text.length, 500);
  assert.deepEqual(parse({ type: "event", kind: "rise", t: 1, detected_t: 2, utc, strength: 0.5 }),
                   { type: "event", kind: "rise", t: 1, utc, mood: "" });
  assert.throws(() => parse({ type: "marker", t: "3", utc, text: "" }), ProtocolError);
  assert.throws(() => parse({ type: "marker", t: 3, utc: "soon", text: "" }), ProtocolError);
});

test("a hello may have a target and the speed of a replay", () => {
  const points = [{ t_s: 60, valence: 0.5, arousal: -2 }, { t_s: 0, valence: -0.5, arousal: 0.5 }];
  const parsed = parse(hello("a", { target: { points }, speed: 10 }));
  assert.deepEqual(parsed.target, [{ t: 0, valence: -0.5, arousal: 0.5 }, { t: 60, valence: 0.5, arousal: -1 }]);
  assert.equal(parsed.speed, 10);
  assert.deepEqual([parse(hello("a")).target, parse(hello("a")).speed], [[], 1]);
  assert.throws(() => parse(hello("a", { target: { points: 7 } })), /points of target/);
});

test("pulses are checked, and bands and onset are clamped", () => {
  const pulse = { t: 1.5, level_db: -20.5, bands: [0, 0.1, 0.2, 0.3, 0.4, 1], onset: 0.5 };
  assert.deepEqual(parse({ type: "pulse", pulses: [pulse] }), { type: "pulse", pulses: [pulse] });
  const loud = parse({ type: "pulse", pulses: [{ ...pulse, bands: [2, -1, 0, 0, 0, 0], onset: 3 }] }).pulses[0];
  assert.deepEqual([loud.bands, loud.onset], [[1, 0, 0, 0, 0, 0], 1]);
  for (const wrong of [{ bands: [1, 1] }, { bands: [1, 1, 1, 1, 1, "1"] }, { bands: 6 }, { onset: null }, { t: null }]) {
    assert.throws(() => parse({ type: "pulse", pulses: [{ ...pulse, ...wrong }] }), ProtocolError);
  }
  assert.throws(() => parse({ type: "pulse", t: 1 }), /pulses is not a list/);
  assert.deepEqual(JSON.parse(pulseMessage(true)), { type: "pulse", on: true });
});
