import assert from "node:assert/strict";
import { test } from "node:test";

import { History } from "../mer_web/history.js";
import { Remarks, changeText, told } from "../mer_web/remarks.js";
import { estimate } from "./support.mjs";

function heard(session, count, first = 0) {
  const history = new History(100);
  history.startSession(session, "demo");
  for (let seq = first; seq < first + count; seq += 1) history.push(estimate({ seq }));
  return history;
}

function marker(t, overrides = {}) {
  return { kind: "marker", session: "a", t, utc: "2026-01-01T00:00:05Z", text: "opens eyes", ...overrides };
}

test("a moment of a session has a place between its estimates", () => {
  const history = heard("a", 10);
  assert.equal(history.timeOf("a", 4.5), history.time[4] + 0.5);
  assert.equal(history.timeOf("a", 9.5), history.time[9] + 0.5);
  assert.ok(Number.isNaN(history.timeOf("b", 4)));
});

test("a moment before the oldest estimate lies before it, and one of an earlier session in that", () => {
  const history = heard("a", 10, 5);
  const first = history.time[0];
  assert.equal(history.timeOf("a", 2), first - 3);
  history.startSession("b", "demo");
  history.push(estimate({ seq: 100, t: 1 }));
  assert.equal(history.timeOf("a", 6), first + 1);
});

test("those that would overlap are one group, in order of time", () => {
  const remarks = new Remarks(heard("a", 50));
  for (const t of [30, 10, 12, 12.5]) remarks.add(marker(t));
  const groups = remarks.groups("marker", 5);
  assert.deepEqual(groups.map((group) => group.remarks.map(({ t }) => t)), [[10, 12, 12.5], [30]]);
  assert.deepEqual(remarks.groups("change", 5), []);
});

test("what is told again after a lost connection is there once", () => {
  const remarks = new Remarks(heard("a", 50));
  assert.equal(remarks.add(marker(10)), true);
  assert.equal(remarks.add(marker(10)), false);
  assert.equal(remarks.add(marker(10, { text: "closes eyes" })), true);
  assert.equal(remarks.version, 2);
});

test("a remark waits for the first estimate of its session", () => {
  const history = new History(10);
  const remarks = new Remarks(history);
  remarks.add(marker(1));
  assert.equal(remarks.groups("marker", 5).length, 0);
  assert.equal(remarks.waiting, true);
  const { stamp } = remarks;
  history.startSession("a", "demo");
  history.push(estimate({ seq: 1 }));
  assert.notEqual(remarks.stamp, stamp);
  assert.equal(remarks.groups("marker", 5).length, 1);
  assert.equal(remarks.waiting, false);
});

test("of a crowd the first five are told, and how many more there are", () => {
  const group = (count) => ({ time: 0, remarks: Array.from({ length: count }, (_, t) => marker(t, { kind: "change" })) });
  assert.deepEqual(told(group(6)), { told: group(6).remarks, rest: "" });
  assert.equal(told(group(40)).told.length, 5);
  assert.equal(told(group(40)).rest, "and 35 more changes: zoom in to read them");
});

test("only the newest are kept", () => {
  const remarks = new Remarks(heard("a", 3));
  for (let t = 0; t < 6200; t += 1) remarks.add(marker(t));
  const groups = remarks.groups("marker", 0);
  assert.equal(groups.length, 6000);
  assert.equal(groups[0].remarks[0].t, 200);
});

test("changes are told in words; the end of a mood is not, since another one follows", () => {
  assert.equal(changeText({ kind: "mood_enter", mood: "calm" }), "mood: calm");
  assert.equal(changeText({ kind: "rise", mood: "" }), "energy rises");
  assert.equal(changeText({ kind: "mood_leave", mood: "calm" }), "");
  assert.equal(changeText({ kind: "of a newer server", mood: "" }), "");
});
