/** Estimates, sockets and clocks for tests. */

// Behind a flag in Node 18; every browser has it.
globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail } = {}) {
    super(type);
    this.detail = detail;
  }
};

/** An estimate as the server sends it, with overrides. */
export function estimate(overrides = {}) {
  const seq = overrides.seq ?? 0;
  return {
    type: "estimate", seq, t: seq, utc: new Date(Date.UTC(2026, 0, 1) + 1000 * seq).toISOString(),
    valence: 0.25, arousal: -0.5, valence_low: 0, valence_high: 0.5, arousal_low: -0.75, arousal_high: -0.25,
    mood: "calm", state: "tracking", level_db: -20,
    latency: { window_s: 10, buffer_ms: 1, compute_ms: 2, queue_ms: 0 }, ...overrides,
  };
}

/** Fast values as the server sends them, each exact in single precision. */
export function fast(overrides = {}) {
  return { window_s: 3, valence: 0.5, arousal: -0.25, valence_low: 0.25, valence_high: 0.75, arousal_low: -0.5,
           arousal_high: 0, ...overrides };
}

/** Scaled values as the server sends them, each exact in single precision. */
export function scaled(overrides = {}) {
  return { valence: 0.75, arousal: -1, valence_low: 0, valence_high: 1, arousal_low: -1, arousal_high: -0.5,
           ...overrides };
}

/** A clock that a test advances. */
export class ManualClock {
  constructor() {
    this.ms = 0;
    /** By how much the time of day was set. */
    this.set = 0;
    this._timers = new Map();
    this._next = 1;
  }

  now() {
    return this.ms;
  }

  wall() {
    return this.ms + this.set;
  }

  /** Time passes, and no timer runs. */
  sleep(ms) {
    this.ms += ms;
  }

  setTimeout(run, ms) {
    this._timers.set(this._next, { run, at: this.ms + ms });
    this._next += 1;
    return this._next - 1;
  }

  clearTimeout(timer) {
    this._timers.delete(timer);
  }

  get waiting() {
    return this._timers.size;
  }

  advance(ms) {
    const end = this.ms + ms;
    for (;;) {
      const due = [...this._timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this._timers.delete(due[0]);
      this.ms = Math.max(this.ms, due[1].at);
      due[1].run();
    }
    this.ms = end;
  }
}

/** Replaces the browser's storage of a tab. */
export class FakeStorage {
  items = new Map();

  getItem(name) {
    return this.items.get(name) ?? null;
  }

  setItem(name, value) {
    this.items.set(name, value);
  }

  removeItem(name) {
    this.items.delete(name);
  }
}

/** Replaces the browser's WebSocket; the test acts as the server. */
export class FakeSocket {
  static opened = [];

  constructor(url) {
    this.url = url;
    this.readyState = 0;
    this.bufferedAmount = 0;
    this.sent = [];
    FakeSocket.opened.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close() {
    this.readyState = 3;
  }

  accept() {
    this.readyState = 1;
    this.onopen?.();
  }

  get types() {
    return this.sent.map((text) => JSON.parse(text).type);
  }

  receive(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

export function hello(session, overrides = {}) {
  return { type: "hello", schema: 1, session, server: "realtime-mer 0.1.0", model: { name: "mer-1", version: "1.0" },
           hop_s: 1, lag_order: 20, window_s: 10, coverage: 0.8, backend: "onnxruntime",
           input: { kind: "demo", name: "demo", sample_rate_hz: 44100, channels: 2 }, ...overrides };
}
