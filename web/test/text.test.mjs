import assert from "node:assert/strict";
import { test } from "node:test";

import { brief, clean, clock, counted, latencyLine, signed, span } from "../mer_web/text.js";

test("signed: sign, minus character, two decimals, no negative zero", () => {
  assert.deepEqual([0.423, -0.125001, 0, -0.001, 1].map((value) => signed(value)),
                   ["+0.42", "−0.13", "+0.00", "+0.00", "+1.00"]);
  assert.equal(signed(NaN), "–");
});

test("clean keeps all languages and drops invisible characters", () => {
  assert.equal(clean("  Mikrofon\u0007 Größe \u200f שלום 🎵 "), "Mikrofon Größe שלום 🎵");
  assert.equal(clean(42), "");
  assert.equal(clean("a\u202eb\u061cc\u00ad\u{e0041}d\ud800e\ufff9f"), "a b c d e f");
  assert.ok(clean(`Z${"\u0335".repeat(5000)}algo${"\u0489".repeat(5000)}`).length < 20, "marks do not heap up");
  assert.equal(clean("🎵".repeat(10), 4), "🎵🎵🎵…");
});

test("clock and span", () => {
  assert.deepEqual([0, 7.9, 150, 3723, NaN].map(clock), ["0:00", "0:07", "2:30", "1:02:03", "0:00"]);
  assert.deepEqual([8, 240, 7500, 7200].map(span), ["8 s", "4 min", "2 h 5 min", "2 h"]);
});

test("latency line separates the window from the added latency", () => {
  const latency = { window_s: 10, buffer_ms: 1.2, compute_ms: 2.6, queue_ms: 0.1 };
  assert.equal(latencyLine(latency), "looks back 10 s; adds 4 ms");
  assert.equal(latencyLine({ window_s: 2.5, buffer_ms: 0, compute_ms: 0.44, queue_ms: 0 }), "looks back 2.5 s; adds 0.4 ms");
});

test("counted and brief", () => {
  assert.equal(counted(1, "viewer"), "1 viewer");
  assert.equal(counted(0, "viewer"), "0 viewers");
  assert.deepEqual([0.44, 9.96, 12.3].map(brief), ["0.4", "10", "12"]);
});
