import assert from "node:assert/strict";
import { test } from "node:test";

import { destinationLine, isPrivate } from "../mer_web/destination.js";
import { sendingLine } from "../mer_web/input-panel.js";

const place = (url) => new URL(url);

test("says where the sound goes, and whether others can listen", () => {
  assert.match(destinationLine(place("https://mer.example/x")), /goes to mer\.example, over an encrypted connection, and is not kept/);
  assert.match(destinationLine(place("http://192.168.1.5:8765/")), /192\.168\.1\.5:8765, over a connection that is not encrypted/);
  assert.match(destinationLine(place("http://localhost:8765/")), /localhost:8765, on this computer, and is not kept/);
});

test("only https and this machine are private", () => {
  for (const url of ["https://a.example/", "http://localhost/", "http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]:8765/"]) {
    assert.equal(isPrivate(place(url)), true, url);
  }
  for (const url of ["http://10.0.0.1/", "http://127.0.0.1.example/", "http://localhost.example/", "http://host/"]) {
    assert.equal(isPrivate(place(url)), false, url);
  }
});

test("says what the sound of this browser does", () => {
  const choice = { kind: "microphone", phase: "running", name: "stage", trouble: "" };
  assert.equal(sendingLine(choice, true, "host:1"), "Your microphone is being sent to host:1");
  assert.equal(sendingLine(choice, false, "host:1"), "Your microphone waits for the server");
  assert.equal(sendingLine({ ...choice, phase: "waiting" }, false, "host:1"), "stage: no sound");
  assert.equal(sendingLine({ ...choice, kind: "file", name: "a.wav" }, true, "host:1"), "a.wav is being sent to host:1");
});
