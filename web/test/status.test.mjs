import assert from "node:assert/strict";
import { test } from "node:test";

import { gauge, meterShare } from "../mer_web/value-display.js";
import { healthLine, inputLine, linkLine } from "../mer_web/status.js";

const health = (counters) => ({ type: "health", session: "s", counters, viewers: 2, sessions: 1, uptime_s: 130 });

test("the health line names every loss", () => {
  assert.deepEqual(healthLine(health({ overflows: 0 }), 0, 44100),
                   { text: "nothing lost · 2 viewers · 1 stream sent here · up 2 min", trouble: false });
  const line = healthLine(health({ overflows: 1, dropped_samples: 512, new_counter: 3 }), 0.3, 0);
  assert.equal(line.trouble, true);
  assert.match(line.text, /^1 overflow, 512 samples dropped, 3 new counter, this browser dropped 0.3 s/);
  const away = healthLine(health({ dropped_samples: 1595745 }), 0, 48000);
  assert.match(away.text, /^33 s of audio missing · /);
  assert.equal(healthLine(null, 0, 0).text, "");
});

test("the connection line gives state and delay", () => {
  const phase = { retryAt: 5000, code: 1006, reason: "" };
  assert.equal(linkLine({ ...phase, name: "open" }, 0), "connected");
  assert.equal(linkLine({ ...phase, name: "waiting" }, 2600), "reconnecting in 3 s");
  assert.equal(linkLine({ ...phase, name: "gone" }, 4999), "server gone, trying again in 1 s");
  assert.equal(linkLine({ ...phase, name: "waiting", code: 1013 }, 0), "server is full, trying again in 5 s");
  assert.equal(linkLine({ ...phase, name: "gone", code: 1013 }, 0), "server is full, trying again in 5 s");
  assert.equal(linkLine({ ...phase, name: "connecting", code: 0 }, 0), "connecting");
  assert.equal(linkLine({ ...phase, name: "locked", code: 1008 }, 0), "token needed");
  assert.equal(linkLine({ ...phase, name: "waiting", code: 1008 }, 0), "closed by the server, trying again in 5 s");
});

test("the input line gives name, rate and channels", () => {
  assert.equal(inputLine({ kind: "demo", name: "demo", sample_rate_hz: 44100, channels: 2 }), "demo · 44.1 kHz, 2 channels");
  assert.equal(inputLine({ kind: "browser", name: "", sample_rate_hz: 0, channels: 0 }), "browser");
});

test("gauges and meter stay within their scales", () => {
  assert.equal(gauge(0, -0.5, 0.5).needle, "translateX(calc(50.00% - 0.11rem))");
  assert.equal(gauge(0, -0.5, 0.5).band, "translateX(25.00%) scaleX(0.5000)");
  assert.deepEqual([-120, -60, -30, 0, 3].map(meterShare), [0, 0, 0.5, 1, 1]);
});
