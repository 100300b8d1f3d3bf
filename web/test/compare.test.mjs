import assert from "node:assert/strict";
import { test } from "node:test";

import { CompareError, isCompareFile, parseCompareFile, readCompareFile } from "../mer_web/compare-file.js";
import { csvLines } from "../mer_web/export.js";
import { Ghost, pointsOfSession } from "../mer_web/ghost.js";
import { History } from "../mer_web/history.js";
import { chooseRange } from "../mer_web/value-range.js";
import { estimate, scaled } from "./support.mjs";

const line = (fields) => JSON.stringify({ type: "estimate", t: 0, valence: 0.5, arousal: -0.5, ...fields });

test("a recording: its estimates, and nothing else of it", () => {
  const text = [JSON.stringify({ type: "recording", schema: 1 }), line({ t: 1 }), JSON.stringify({ type: "marker", t: 1, text: "x" }),
                line({ t: 2, scaled: { valence: 1, arousal: -1 } }), JSON.stringify({ type: "end", t: 3 })].join("\n") + "\n";
  assert.deepEqual(parseCompareFile(text, "a.jsonl"), [{ name: "a.jsonl", points: [
    { t: 1, valence: 0.5, arousal: -0.5 }, { t: 2, valence: 0.5, arousal: -0.5, scaled: { valence: 1, arousal: -1 } }] }]);
});

test("the rows of analyze have no type", () => {
  assert.equal(parseCompareFile('{"t": 1, "valence": 0, "arousal": 0}\n', "a.jsonl")[0].points.length, 1);
});

test("half a line at the end, as after a power cut, is left out", () => {
  assert.equal(parseCompareFile(`${line({})}\n{"type": "esti`, "a.jsonl")[0].points.length, 1);
});

test("the CSV of the page: a curve for each session", () => {
  const history = new History(10);
  history.startSession("one", "demo");
  history.push(estimate({ seq: 0, scaled: scaled() }));
  history.startSession("two", "demo");
  history.push(estimate({ seq: 5, mood: 'a "b", c' }));
  const curves = parseCompareFile(csvLines(history).join(""), "a.csv");
  assert.deepEqual(curves.map(({ name }) => name), ["a.csv: one", "a.csv: two"]);
  assert.deepEqual(curves[0].points, [{ t: 0, valence: 0.25, arousal: -0.5, scaled: { valence: 0.75, arousal: -1 } }]);
  assert.deepEqual(curves[1].points, [{ t: 5, valence: 0.25, arousal: -0.5 }]);
});

test("the CSV of analyze, as spreadsheets save it", () => {
  const text = "\uFEFFseq,t,utc,valence,arousal\r\n0,1.5,x,0.1,-0.2\r\n";
  assert.deepEqual(parseCompareFile(text, "a.csv"), [{ name: "a.csv", points: [{ t: 1.5, valence: 0.1, arousal: -0.2 }] }]);
});

for (const [name, text, sentence] of [
  ["empty", " \n", /^“bad” is empty: /],
  ["something else", "hello\nworld\n", /^“bad” has no column t, valence, arousal: open /],
  ["a table of something else", "t,valence\n1,2\n", /^“bad” has no column arousal: /],
  ["a recording of nothing", '{"type": "recording"}\n', /^“bad” has no estimates: /],
  ["a broken line", `${line({})}\n{"t\n${line({})}\n`, /^Line 2 of “bad” is not JSON: /],
  ["a value that is none", `${line({})}\n${line({ valence: "0.5" })}\n`, /^Line 2 of “bad” is no estimate: /],
  ["a value out of range", "t,valence,arousal\n1,0,7\n", /^Line 2 of “bad” is no estimate: /],
  ["an empty cell", "t,valence,arousal\n,0,0\n", /^Line 2 of “bad” is no estimate: /],
  ["null", `${line({})}\n{"t": null, "valence": 0, "arousal": 0}\n`, /^Line 2 of “bad” is no estimate: /],
]) {
  test(`a bad file has a sentence: ${name}`, () => {
    assert.throws(() => parseCompareFile(text, "bad"), (error) => error instanceof CompareError && sentence.test(error.message));
  });
}

test("a file that is too large, or gone, has a sentence", async () => {
  await assert.rejects(readCompareFile({ name: "a.csv", size: 1e9 }), /“a.csv” has 1000 MB, and this page reads at most 64: /);
  const gone = { name: "a.csv", size: 1, text: () => Promise.reject(new Error("gone")) };
  await assert.rejects(readCompareFile(gone), /^Error: “a.csv” cannot be read: /);
});

test("recordings and tables are compared with, sound is played", () => {
  assert.deepEqual(["estimates-002.jsonl", "x.CSV", "song.mp3", "csv"].map(isCompareFile), [true, true, false, false]);
});

test("the other session at a moment, and over an interval", () => {
  const ghost = new Ghost("x", [4, 0, 1, 2, 3].map((t) => ({ t, valence: t / 10, arousal: -t / 10 })));
  const near = (place, valence) => assert.ok(Math.abs(place.valence - valence) < 1e-12 && Math.abs(place.arousal + valence) < 1e-12);
  near(ghost.at(1.4, 1.6), 0.15);
  near(ghost.at(0.5, 3.5), 0.2);
  assert.equal(ghost.at(-2, -1), null);
  assert.equal(ghost.at(4.1, 5), null);
  assert.deepEqual([ghost.start, ghost.end], [0, 4]);
});

test("a gap of the other session is not bridged", () => {
  const ghost = new Ghost("x", [0, 1, 9, 10].map((t) => ({ t, valence: 0, arousal: 0 })));
  assert.equal(ghost.at(4, 4.2), null);
  assert.notEqual(ghost.at(0.4, 0.6), null);
});

test("a session of the page, in the range that the page shows", () => {
  const history = new History(100);
  history.startSession("a", "");
  history.push(estimate({ seq: 0, scaled: scaled() }));
  history.startSession("b", "");
  history.push(estimate({ seq: 1 }));
  const ghost = new Ghost("a", pointsOfSession(history, "a"));
  assert.deepEqual(ghost.at(-1, 1), { valence: 0.75, arousal: -1 });
  chooseRange("raw");
  assert.deepEqual(ghost.at(-1, 1), { valence: 0.25, arousal: -0.5 });
  chooseRange("music");
  const raw = new Ghost("b", pointsOfSession(history, "b"));
  assert.deepEqual([ghost.isComparable, raw.isComparable], [true, false]);
});
