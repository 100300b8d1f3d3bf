import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Connection } from "../mer_web/connection.js";
import { ManualClock, FakeSocket, estimate, hello } from "./support.mjs";

let clock;
let connection;
let messages;
let phases;
let asked;
let answer;

beforeEach(() => {
  FakeSocket.opened = [];
  clock = new ManualClock();
  messages = [];
  phases = [];
  asked = [];
  answer = () => Promise.reject(new TypeError("no network"));
  const fetch = (url) => {
    asked.push(url);
    return answer();
  };
  connection = new Connection({ base: "http://host:1/", WebSocket: FakeSocket, clock, random: () => 1, fetch });
  connection.addEventListener("message", (event) => messages.push(event.detail));
  connection.addEventListener("phase", (event) => phases.push(event.detail.name));
  connection.open();
});

const socket = () => FakeSocket.opened.at(-1);

test("dispatches messages and phases", () => {
  socket().accept();
  socket().receive(hello("a"));
  socket().receive(estimate({ seq: 4 }));
  assert.deepEqual(phases, ["connecting", "open"]);
  assert.deepEqual(messages.map((one) => one.type), ["hello", "estimate"]);
});

test("reconnects after 0.5, 1, 2 ... 10 s and resumes", () => {
  socket().accept();
  socket().receive(hello("a"));
  connection.markSeen(41);
  connection.markSeen(12);
  socket().drop();
  assert.equal(connection.phase.name, "waiting");
  assert.equal(connection.phase.retryAt, 500);
  clock.advance(499);
  assert.equal(FakeSocket.opened.length, 1);
  clock.advance(1);
  assert.equal(socket().url, "ws://host:1/ws?session=a&since=41");
  const waits = [];
  for (let k = 0; k < 7; k += 1) {
    socket().drop();
    waits.push((connection.phase.retryAt - clock.ms) / 1000);
    clock.advance(connection.phase.retryAt - clock.ms);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 10, 10, 10]);
  assert.ok(phases.includes("gone"));
});

test("only a hello resets the back-off", () => {
  for (let k = 0; k < 3; k += 1) {
    socket().accept();
    socket().drop();
    clock.advance(20_000);
  }
  socket().accept();
  socket().drop();
  assert.equal(connection.phase.retryAt - clock.ms, 4000);
  clock.advance(4000);
  socket().accept();
  socket().receive(hello("a"));
  socket().drop();
  assert.equal(connection.phase.retryAt - clock.ms, 500);
});

test("a new session resets the resume position", () => {
  socket().accept();
  socket().receive(hello("a"));
  connection.markSeen(900);
  socket().receive(hello("b"));
  assert.deepEqual(connection.resume, { session: "b", seq: -1 });
});

test("waits longer after a full server", () => {
  socket().accept();
  socket().drop(1013, "too many sessions");
  assert.equal(connection.phase.retryAt, 5000);
  assert.equal(connection.phase.reason, "too many sessions");
});

test("pings a silent server, then drops the connection", () => {
  socket().accept();
  socket().receive(hello("a"));
  clock.advance(9_000);
  assert.deepEqual(socket().sent.map((text) => JSON.parse(text).type), ["ping"]);
  socket().receive({ type: "pong", id: "page", utc: "" });
  clock.advance(7_000);
  assert.equal(connection.phase.name, "open");
  clock.advance(9_000);
  assert.notEqual(connection.phase.name, "open");
});

test("reports an invalid message and keeps the connection", () => {
  const invalid = [];
  connection.addEventListener("invalid", (event) => invalid.push(event.detail));
  socket().accept();
  socket().receive("nonsense");
  socket().receive(hello("a"));
  assert.deepEqual(invalid, ["not JSON"]);
  assert.equal(messages.length, 1);
});

test("sends only on an open connection", () => {
  assert.equal(connection.send("x"), false);
  socket().accept();
  assert.equal(connection.send("x"), true);
  socket().drop();
  assert.equal(connection.send("y"), false);
});

test("close leaves no timer and ignores late events of the socket", () => {
  socket().accept();
  const old = socket();
  connection.close();
  assert.equal(clock.waiting, 0);
  old.receive(hello("a"));
  old.drop();
  assert.equal(connection.phase.name, "closed");
  assert.equal(messages.length, 0);
});

test("retryNow connects at once", () => {
  socket().drop();
  connection.retryNow();
  assert.equal(FakeSocket.opened.length, 2);
  connection.retryNow();
  assert.equal(FakeSocket.opened.length, 2);
});

function refuse(times) {
  for (let k = 0; k < times; k += 1) {
    socket().drop();
    clock.advance(connection.phase.retryAt - clock.ms);
  }
}

const reasonOf = () => new Promise((done) => connection.addEventListener("refused", (event) => done(event.detail)));

test("asks for the reason of a repeated refusal", async () => {
  const headers = new Headers({ "Content-Type": "text/plain; charset=utf-8" });
  answer = async () => new Response("pages from http://host:1 may not use this server\n", { status: 403, headers });
  refuse(2);
  assert.deepEqual(asked, []);
  const reason = reasonOf();
  refuse(1);
  assert.deepEqual(asked, ["http://host:1/ws?origin=http%3A%2F%2Fhost%3A1"]);
  assert.equal(await reason, "pages from http://host:1 may not use this server");
});

test("neither a server that is away nor a proxy's page is a reason", async () => {
  let refused = 0;
  connection.addEventListener("refused", () => { refused += 1; });
  refuse(3);
  answer = async () => new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "Content-Type": "text/html" } });
  refuse(1);
  await new Promise((done) => setImmediate(done));
  assert.deepEqual([asked.length, refused], [2, 0]);
});

test("a connection that was open is lost, not refused", () => {
  for (let k = 0; k < 4; k += 1) {
    socket().accept();
    refuse(1);
  }
  assert.deepEqual(asked, []);
});
