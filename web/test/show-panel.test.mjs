import assert from "node:assert/strict";
import { test } from "node:test";
import { controlMessage, parseMessage } from "../mer_web/protocol.js";
import { showLine } from "../mer_web/show-panel.js";

const FREE = { mute: false, freeze: false, blackout: false, override: {} };
const output = (name, health = "ok", control = FREE) =>
  ({ name, kind: "osc", health, sent: 3, dropped: 0, answer: "", control });
const health = (show) => parseMessage(JSON.stringify({ type: "health", session: "s", counters: {}, show }));

test("the line names what fails and what is set by hand", () => {
  assert.deepEqual(showLine({ control: FREE, outputs: [output("desk")], scenes: [] }), { text: "1 of 1 output ok", trouble: false });
  const { text, trouble } = showLine({
    control: { ...FREE, blackout: true, override: { valence: 0.2, dimmer: 1 } },
    outputs: [output("desk"), output("wall", "failing"), output("fog", "muted", { ...FREE, mute: true })],
    scenes: [{ name: "storm", active: true, reason: "" }, { name: "sun", active: false, reason: "" }],
  });
  assert.equal(text, "1 of 3 outputs ok · wall failing · mute of some outputs is on · black-out is on"
    + " · valence, dimmer by hand · scene storm");
  assert.equal(trouble, true);
  const many = ["a", "b", "c", "d", "e"].map((name) => output(name, "failing"));
  assert.equal(showLine({ control: FREE, outputs: many, scenes: [] }).text, "0 of 5 outputs ok · a, b, c and 2 more failing");
});

test("a show is parsed, and what is not valid is left out", () => {
  const message = health({
    control: { mute: true, override: { valence: 0.5, arousal: "x" } },
    outputs: [{ ...output("de\u0007sk"), health: "ok" }],
    scenes: [{ name: "storm", active: true, reason: "active: mood is tense" }, { name: 3 }],
  });
  assert.deepEqual(message.show.scenes[0], { name: "storm", active: true, reason: "active: mood is tense" });
  assert.deepEqual(message.show.scenes[1], { name: "", active: false, reason: "" });
  assert.deepEqual(message.show.control, { ...FREE, mute: true, override: { valence: 0.5 } });
  assert.equal(message.show.outputs[0].sent, 3);
  assert.ok(!message.show.outputs[0].name.includes("\u0007"));
  assert.equal(health(undefined).show, undefined);
  assert.throws(() => health({ outputs: 3 }), /outputs is not a list/);
});

test("a change is one message", () => {
  assert.deepEqual(JSON.parse(controlMessage({ output: "desk", override: { level: null } })),
                   { type: "control", output: "desk", override: { level: null } });
});
