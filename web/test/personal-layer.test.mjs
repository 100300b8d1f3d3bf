import assert from "node:assert/strict";
import { test } from "node:test";
import { personalValues } from "../mer_web/personal-layer.js";
import { parseMessage, tapMessage } from "../mer_web/protocol.js";

const RAW = { valence: 0.2, arousal: -0.4, valence_low: -0.1, valence_high: 0.6, arousal_low: -0.9, arousal_high: -0.2 };
const axis = (shift, scale, widen) => ({ shift, scale, widen });
const health = (personal) => parseMessage(JSON.stringify({ type: "health", session: "s", counters: {}, personal })).personal;

test("the map moves the values and widens their interval", () => {
  const mapped = personalValues({ valence: axis(0.1, 1.5, 2), arousal: axis(-0.5, 1, 1) }, RAW);
  const expected = { valence: 0.4, arousal: -0.9, valence_low: -0.2, valence_high: 1, arousal_low: -1, arousal_high: -0.7 };
  for (const [name, value] of Object.entries(expected)) assert.ok(Math.abs(mapped[name] - value) < 1e-9, name);
});

test("a map that changes nothing keeps the values", () => {
  const mapped = personalValues({ valence: axis(0, 1, 1), arousal: axis(0, 1, 1) }, RAW);
  for (const name of Object.keys(RAW)) assert.ok(Math.abs(mapped[name] - RAW[name]) < 1e-9, name);
});

test("a person's map is parsed, and one that is not valid is refused", () => {
  const map = { valence: axis(0.1, 1, 1.5), arousal: axis(0, 1.1, 1.5) };
  const personal = { taps: 3, pieces: 2, map, worth_using: true, advice: "the map is\u0007 worth using", worth: null };
  assert.deepEqual(health(personal), { taps: 3, pieces: 2, map, worth_using: true, advice: "the map is worth using" });
  assert.equal(health(undefined), undefined);
  assert.throws(() => health({ ...personal, map: {} }), /valence is not an object/);
});

test("a tap is one message", () => {
  assert.deepEqual(JSON.parse(tapMessage({ action: "add", valence: 0.5, arousal: -1 })),
    { type: "tap", action: "add", valence: 0.5, arousal: -1 });
});
