import assert from "node:assert/strict";
import { test } from "node:test";

import { COLUMNS, cell, csvLines, fileName } from "../mer_web/export.js";
import { History } from "../mer_web/history.js";
import { estimate, fast, scaled } from "./support.mjs";

test("columns and a row", () => {
  const history = new History(4);
  history.startSession("abc", "demo");
  history.push(estimate({ seq: 3, t: 1.5, valence: -0.123456, level_db: -23.45 }));
  const [head, row] = csvLines(history);
  assert.equal(head, "session,seq,t,utc,valence,arousal,valence_low,valence_high,arousal_low,arousal_high,"
    + "mood,state,level_db,window_s,buffer_ms,compute_ms,queue_ms,"
    + "fast_window_s,fast_valence,fast_arousal,fast_valence_low,fast_valence_high,fast_arousal_low,fast_arousal_high,"
    + "scaled_valence,scaled_arousal,scaled_valence_low,scaled_valence_high,scaled_arousal_low,scaled_arousal_high\n");
  assert.equal(row, `abc,3,1.5,${estimate({ seq: 3 }).utc},-0.123456,-0.5,-0.123456,0.5,-0.75,-0.25,`.replace("-0.123456,0.5", "0,0.5")
    + "calm,tracking,-23.45,10,1,2,0,,,,,,,,,,,,,\n");
  assert.equal(row.split(",").length, COLUMNS.length);
});

test("before any music the cell of the mood is empty", () => {
  const history = new History(4);
  history.push(estimate({ mood: "", state: "speech" }));
  assert.match(csvLines(history)[1], /,,speech,-20,/);
});

test("fast values follow the latency", () => {
  const history = new History(4);
  history.push(estimate({ seq: 0, fast: fast({ valence: 0.123457 }) }));
  assert.match(csvLines(history)[1], /,10,1,2,0,3,0\.123457,-0\.25,0\.25,0\.75,-0\.5,0,,,,,,\n$/);
});

test("scaled values are the last columns", () => {
  const history = new History(4);
  history.push(estimate({ seq: 0, scaled: scaled() }));
  assert.match(csvLines(history)[1], /,0,,,,,,,,0\.75,-1,0,1,-1,-0\.5\n$/);
});

test("six decimals are exact in the single precision of the history", () => {
  const history = new History(4);
  const values = [0.123457, -0.999999, 0.000001, 0.333333];
  values.forEach((valence, seq) => history.push(estimate({ seq, valence })));
  assert.deepEqual(csvLines(history).slice(1).map((row) => Number(row.split(",")[4])), values);
});

test("text is quoted and formulas are escaped", () => {
  assert.equal(cell("calm"), "calm");
  assert.equal(cell('a "b", c'), '"a ""b"", c"');
  assert.equal(cell("=1+1"), "'=1+1");
  assert.equal(cell("@x,y"), "\"'@x,y\"");
  for (const first of "=+-@\t\r") assert.match(cell(`${first}cmd`), /^"?'/, JSON.stringify(first));
});

test("file names sort by time and are valid everywhere", () => {
  assert.equal(fileName(new Date(Date.UTC(2026, 10, 23, 9, 5, 7))), "realtime-mer-2026-11-23T09-05-07Z.csv");
});
