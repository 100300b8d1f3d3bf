import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Connection } from "../mer_web/connection.js";
import { ManualClock, FakeSocket, FakeStorage, estimate, hello } from "./support.mjs";

let clock;
let connection;
let messages;
let phases;
let asked;
let answer;
let connect;

beforeEach(() => {
  FakeSocket.opened = [];
  globalThis.sessionStorage = new FakeStorage();
  clock = new ManualClock();
  messages = [];
  phases = [];
  asked = [];
  answer = () => Promise.reject(new TypeError("no network"));
  const fetch = (url) => {
    asked.push(url);
    return answer();
  };
  connect = () => {
    connection = new Connection({ base: "http://host:1/", WebSocket: FakeSocket, clock, random: () => 1, fetch });
    connection.addEventListener("message", (event) => messages.push(event.detail));
    connection.addEventListener("phase", (event) => phases.push(event.detail.name));
    connection.open();
  };
  connect();
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
    clock.advance(connection.phase.retryAt - clock.ms);
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
  connection.addEventListener("invalid", (event) => invalid.push(event.detail.message));
  socket().accept();
  socket().receive("nonsense");
  socket().receive(hello("a"));
  assert.deepEqual(invalid, ["not JSON"]);
  assert.equal(messages.length, 1);
});

test("sends only on an open connection", () => {
  assert.equal(connection.send("x"), false);
  socket().accept();
  assert.equal(connection.send("x"), false, "before the server has said hello");
  socket().receive(hello("a"));
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

const REQUIRED = async () => new Response('{"status": "listening", "token": "required"}', { status: 200 });
const settle = () => new Promise((done) => setImmediate(done));
const WRONG = { type: "error", code: "unauthorized", message: "this token is not one of this server's" };

test("a server that says nothing is asked whether it wants a token, and then left alone", async () => {
  answer = REQUIRED;
  socket().accept();
  assert.deepEqual(asked, []);
  clock.advance(300);
  await settle();
  assert.deepEqual(asked, ["http://host:1/healthz"]);
  assert.deepEqual(phases, ["connecting", "locked"]);
  assert.equal(connection.phase.reason, "");
  assert.equal(clock.waiting, 0);
  connection.retryNow();
  connection.wake();
  assert.equal(FakeSocket.opened.length, 1);
});

test("a server that says hello is not asked", async () => {
  socket().accept();
  socket().receive(hello("a"));
  clock.advance(1000);
  assert.deepEqual(asked, []);
});

test("a server or proxy without an answer about tokens keeps its time", async () => {
  for (const body of ["null", "<h1>no</h1>", '{"status": "listening"}']) {
    answer = async () => new Response(body);
    socket().accept();
    clock.advance(300);
    await settle();
    assert.equal(connection.phase.name, "connecting", body);
    socket().drop();
    clock.advance(connection.phase.retryAt - clock.ms);
  }
});

test("the token is the first message, and is kept for the tab once it was accepted", async () => {
  answer = REQUIRED;
  socket().accept();
  clock.advance(300);
  await settle();
  connection.unlock("se\"cret");
  socket().accept();
  assert.deepEqual(socket().sent.map((text) => JSON.parse(text)), [{ type: "auth", token: 'se"cret' }]);
  assert.equal(sessionStorage.items.size, 0);
  assert.equal(connection.send("audio"), false);
  socket().receive(hello("a"));
  assert.deepEqual([...sessionStorage.items.values()], ['se"cret']);
  for (const { url } of FakeSocket.opened) assert.doesNotMatch(url, /se|cret"/);
  connection.close();
  connect();
  socket().accept();
  assert.deepEqual(socket().types, ["auth"]);
  connection.forget();
  socket().accept();
  assert.deepEqual(socket().types, []);
  assert.equal(sessionStorage.items.size, 0);
});

for (const [how, refuse] of Object.entries({
  "an error": () => socket().receive(WRONG), "a close": () => socket().drop(1008, "unauthorized"),
})) {
  test(`a wrong token is refused by ${how}, and is not tried again`, () => {
    connection.unlock("wrong");
    socket().accept();
    refuse();
    assert.equal(connection.phase.name, "locked");
    assert.match(connection.phase.reason, /one of this server's/);
    assert.equal(connection.hasToken, false);
    assert.equal(clock.waiting, 0);
    assert.equal(messages.length, 0);
    const attempts = FakeSocket.opened.length;
    clock.advance(3_600_000);
    assert.equal(FakeSocket.opened.length, attempts);
  });
}

test("a token that became invalid leaves the tab", () => {
  connection.unlock("old");
  socket().accept();
  socket().receive(hello("a"));
  socket().receive(WRONG);
  assert.equal(sessionStorage.items.size, 0);
  assert.equal(connection.phase.name, "locked");
});

test("too many wrong tokens: the server's sentence at once, and its wait", async () => {
  const headers = new Headers({ "Content-Type": "text/plain", "Retry-After": "60" });
  answer = async () => new Response("too many wrong tokens; try again in a minute\n", { status: 429, headers });
  connection.unlock("guess");
  const reason = reasonOf();
  socket().drop();
  assert.equal(await reason, "too many wrong tokens; try again in a minute");
  assert.equal(connection.phase.retryAt - clock.ms, 60_000);
  assert.equal(clock.waiting, 1);
});

test("a credential that the handshake refuses asks for a token", async () => {
  const headers = new Headers({ "Content-Type": "text/plain" });
  answer = async () => new Response("this token is not valid\n", { status: 401, headers });
  connection.unlock("guess");
  socket().drop();
  await settle();
  assert.deepEqual([connection.phase.name, connection.phase.reason], ["locked", "this token is not valid"]);
});

test("backs off long after it was asked to", () => {
  socket().accept();
  socket().receive(hello("a"));
  socket().drop(1008, "too many connections from this address");
  assert.equal(connection.phase.retryAt, 30_000);
  assert.equal(connection.phase.reason, "too many connections from this address");
  connection.wake();
  assert.equal(FakeSocket.opened.length, 1);
});

test("after a sleep, a dead connection is found within seconds", () => {
  for (const sleep of [() => clock.sleep(10_000), () => { clock.set += 3_600_000; }]) {
    socket().accept();
    socket().receive(hello("a"));
    const before = FakeSocket.opened.length;
    clock.advance(1500);
    sleep();
    clock.advance(1000);
    assert.deepEqual(socket().types, ["ping"]);
    clock.advance(4500);
    assert.equal(FakeSocket.opened.length, before + 1);
  }
});

test("after a sleep, or a change of the time of day, a living connection is kept", () => {
  socket().accept();
  socket().receive(hello("a"));
  clock.advance(1500);
  for (const set of [3_600_000, -3_600_000]) {
    clock.set += set;
    clock.advance(1000);
    socket().receive({ type: "pong", id: "page", utc: "" });
    clock.advance(5000);
    socket().receive(estimate());
    assert.equal(connection.phase.name, "open");
  }
});

test("an attempt that hangs is given up", () => {
  clock.advance(14_100);
  assert.equal(connection.phase.name, "waiting");
});

test("waking up ends a planned wait", () => {
  socket().drop();
  connection.wake();
  assert.equal(FakeSocket.opened.length, 2);
});

test("moves to another server before the old one closes", () => {
  connection.close();
  connect();
  const old = socket();
  old.accept();
  old.receive(hello("a"));
  connection.markSeen(7);
  old.receive({ type: "going_away", closes_in_s: 30 });
  assert.equal(connection.send("to the old one"), true);
  clock.advance(999);
  assert.equal(socket(), old);
  clock.advance(1);
  const next = socket();
  assert.equal(next.url, "ws://host:1/ws?session=a&since=7");
  next.accept();
  old.receive(estimate({ seq: 8 }));
  phases.length = messages.length = 0;
  next.receive(hello("b"));
  assert.equal(old.readyState, 3);
  assert.deepEqual(phases, ["open"]);
  assert.deepEqual(messages.map((one) => one.session), ["b"]);
  connection.send("to the new one");
  assert.deepEqual([old.sent, next.sent], [["to the old one"], ["to the new one"]]);
  next.drop();
  assert.equal(connection.phase.name, "waiting");
});

test("keeps the old connection while no other server answers", () => {
  const old = socket();
  old.accept();
  old.receive(hello("a"));
  old.receive({ type: "going_away", closes_in_s: 30 });
  clock.advance(1000);
  const refused = socket();
  assert.notEqual(refused, old);
  refused.drop();
  assert.equal(connection.phase.name, "open");
  clock.advance(500);
  const full = socket();
  assert.notEqual(full, refused);
  full.accept();
  full.receive({ type: "error", code: "too_many_viewers", message: "" });
  assert.equal(full.readyState, 3);
  assert.equal(connection.isOpen, true);
  old.drop(1001);
  assert.equal(connection.phase.name, "waiting");
  assert.equal(clock.waiting, 1);
  clock.advance(500);
  socket().accept();
  socket().receive(hello("a"));
  assert.equal(connection.phase.name, "open");
});

test("shows its token to the next server, and leaves nothing behind when closed", () => {
  const old = socket();
  old.accept();
  old.receive(hello("a"));
  connection.unlock("secret");
  socket().accept();
  socket().receive(hello("a"));
  socket().receive({ type: "going_away", closes_in_s: 30 });
  clock.advance(1000);
  socket().accept();
  assert.deepEqual(socket().sent.map((text) => JSON.parse(text)), [{ type: "auth", token: "secret" }]);
  const next = socket();
  connection.close();
  assert.equal(clock.waiting, 0);
  assert.equal(next.readyState, 3);
});
