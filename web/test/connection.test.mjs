import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Connection } from "../mer_web/connection.js";
import { HandClock, WireSocket, estimate, hello } from "./support.mjs";

let clock;
let connection;
let messages;
let phases;

beforeEach(() => {
  WireSocket.opened = [];
  clock = new HandClock();
  messages = [];
  phases = [];
  connection = new Connection({ base: "http://host:1/", WebSocket: WireSocket, clock, random: () => 1 });
  connection.addEventListener("message", (event) => messages.push(event.detail));
  connection.addEventListener("phase", (event) => phases.push(event.detail.name));
  connection.open();
});

const socket = () => WireSocket.opened.at(-1);

test("hands on what it hears and says how it is", () => {
  socket().accept();
  socket().say(hello("a"));
  socket().say(estimate({ seq: 4 }));
  assert.deepEqual(phases, ["connecting", "open"]);
  assert.deepEqual(messages.map((one) => one.type), ["hello", "estimate"]);
});

test("comes back after 0.5, 1, 2 ... 10 s and asks for what it missed", () => {
  socket().accept();
  socket().say(hello("a"));
  connection.seen(41);
  connection.seen(12);
  socket().drop();
  assert.equal(connection.phase.name, "waiting");
  assert.equal(connection.phase.retryAt, 500);
  clock.turn(499);
  assert.equal(WireSocket.opened.length, 1);
  clock.turn(1);
  assert.equal(socket().url, "ws://host:1/ws?session=a&since=41");
  const waits = [];
  for (let k = 0; k < 7; k += 1) {
    socket().drop();
    waits.push((connection.phase.retryAt - clock.ms) / 1000);
    clock.turn(connection.phase.retryAt - clock.ms);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 10, 10, 10]);
  assert.ok(phases.includes("gone"));
});

test("a server that accepts and drops at once does not reset the back-off; a hello does", () => {
  for (let k = 0; k < 3; k += 1) {
    socket().accept();
    socket().drop();
    clock.turn(20_000);
  }
  socket().accept();
  socket().drop();
  assert.equal(connection.phase.retryAt - clock.ms, 4000);
  clock.turn(4000);
  socket().accept();
  socket().say(hello("a"));
  socket().drop();
  assert.equal(connection.phase.retryAt - clock.ms, 500);
});

test("a new session forgets how far the old one was seen", () => {
  socket().accept();
  socket().say(hello("a"));
  connection.seen(900);
  socket().say(hello("b"));
  assert.deepEqual(connection.resume, { session: "b", seq: -1 });
});

test("a full server is not pressed", () => {
  socket().accept();
  socket().drop(1013, "too many sessions");
  assert.equal(connection.phase.retryAt, 5000);
  assert.equal(connection.phase.reason, "too many sessions");
});

test("a server that went silent is asked, then given up", () => {
  socket().accept();
  socket().say(hello("a"));
  clock.turn(9_000);
  assert.deepEqual(socket().sent.map((text) => JSON.parse(text).type), ["ping"]);
  socket().say({ type: "pong", id: "page", utc: "" });
  clock.turn(7_000);
  assert.equal(connection.phase.name, "open");
  clock.turn(9_000);
  assert.notEqual(connection.phase.name, "open");
});

test("what is not understood is told and does not end anything", () => {
  const bad = [];
  connection.addEventListener("bad", (event) => bad.push(event.detail));
  socket().accept();
  socket().say("nonsense");
  socket().say(hello("a"));
  assert.deepEqual(bad, ["not JSON"]);
  assert.equal(messages.length, 1);
});

test("nothing is sent into a connection that is not there", () => {
  assert.equal(connection.send("x"), false);
  socket().accept();
  assert.equal(connection.send("x"), true);
  socket().drop();
  assert.equal(connection.send("y"), false);
});

test("closed is closed: no timer is left, and a late event of the old socket changes nothing", () => {
  socket().accept();
  const old = socket();
  connection.close();
  assert.equal(clock.waiting, 0);
  old.say(hello("a"));
  old.drop();
  assert.equal(connection.phase.name, "closed");
  assert.equal(messages.length, 0);
});

test("try now does not wait", () => {
  socket().drop();
  connection.retryNow();
  assert.equal(WireSocket.opened.length, 2);
  connection.retryNow();
  assert.equal(WireSocket.opened.length, 2);
});
