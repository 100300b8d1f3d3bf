/**
 * Which streams the wall shows, and where. A tile never changes its place while its stream is shown: a stream that has
 * ended keeps it until a newcomer takes it, and streams that do not fit wait in the list. Draws nothing.
 */

import { Dwell, headlineOf, waitingHeadline } from "./headline.js";
import { repeats } from "./protocol.js";

/** Streams on the wall at once. */
export const MAX_TILES = 9;

/** How long a stream that has ended stays, unless another takes its place. */
const ENDED_MS = 60_000;

/** Without a new estimate for so long, the last one is not live; a busy server makes one in 4.5 s. */
const STALE_MS = 7000;

/** Estimates of a trail, one for each list of the server. */
const TRAIL_LENGTH = 40;

/**
 * @typedef {import("./protocol.js").Estimate} Estimate
 * @typedef {import("./protocol.js").ListedSession} ListedSession
 * @typedef {import("./headline.js").Headline} Headline
 */

/** A stream as the wall knows it. */
export class Stream {
  /**
   * @param {ListedSession} listed
   * @param {string} label  its name, unlike that of others
   * @param {number} now    milliseconds
   */
  constructor(listed, label, now) {
    this.session = listed.session;
    this.own = listed.own;
    this.label = label;
    this.sampleRate = listed.input.sample_rate_hz;
    this.uptime = listed.uptime_s;
    /** @type {Estimate|null} */
    this.estimate = null;
    /** The newest estimates with music, oldest first. @type {Estimate[]} */
    this.trail = [];
    /** Why it has ended, empty while it goes on. */
    this.ended = "";
    this.endedAt = NaN;
    /** When its newest estimate came. */
    this.heardAt = now;
    this._lastMood = "";
    this._dwell = new Dwell();
    /** @type {Headline} */
    this.headline = this._dwell.set(waitingHeadline("music"));
  }

  /**
   * @param {ListedSession} listed
   * @param {number} now milliseconds
   */
  update(listed, now) {
    this.uptime = listed.uptime_s;
    const { estimate } = listed;
    if (estimate && estimate.seq !== this.estimate?.seq) {
      this.heardAt = now;
      this.estimate = estimate;
      if (estimate.mood) this._lastMood = estimate.mood;
      if (!repeats(estimate.state)) {
        this.trail.push(estimate);
        this.trail.splice(0, this.trail.length - TRAIL_LENGTH);
      }
    }
    if (listed.ended) this.end(listed.ended, now);
    else this.ended = "";
    this.judge(now);
  }

  /**
   * @param {string} reason
   * @param {number} now milliseconds
   */
  end(reason, now) {
    if (!this.ended) this.endedAt = now;
    this.ended = reason;
    this.judge(now);
  }

  /** Whether its values are those of this moment, from music. */
  get live() {
    return this.estimate !== null && !this.ended && !this._stale && !repeats(this.estimate.state);
  }

  /**
   * Finds what there is to say: also of a stream of which nothing comes.
   * @param {number} now milliseconds
   */
  judge(now) {
    this._stale = this.estimate !== null && now - this.heardAt > STALE_MS;
    const last = this._lastMood ? ` · last: ${this._lastMood}` : "";
    if (this.ended) {
      this.headline = this._dwell.set({ word: "ended", line: `${this.ended}${last}`, state: "ended", isMood: false });
    } else if (this._stale) {
      this.headline = this._dwell.set({ word: "no news", line: `no new estimates${last}`, state: "frozen", isMood: false });
    } else if (this.estimate) {
      this.headline = this._dwell.offer(headlineOf(this.estimate, "audio", this._lastMood), now);
    }
  }
}

export class WallTiles {
  constructor() {
    /** All streams that are known, in the order in which they came. @type {Map<string, Stream>} */
    this.streams = new Map();
    /** Those that are shown, in their places. @type {Stream[]} */
    this.shown = [];
    /** Streams of the server, with those that its list leaves out. */
    this.total = 0;
    /** Streams that somebody took off the wall. @type {Set<string>} */
    this._hidden = new Set();
    /** Whether somebody chose: then only newcomers take a free place by themselves. */
    this._chosen = false;
    /** How many streams had a name. @type {Map<string, number>} */
    this._names = new Map();
  }

  /** Streams that go on and are not shown. */
  get more() {
    return Math.max(0, this.total - this.shown.filter((stream) => !stream.ended || stream.own).length);
  }

  /**
   * @param {import("./protocol.js").Sessions} message
   * @param {number} now milliseconds
   * @returns {{joined: Stream[], ended: Stream[]}} what is news
   */
  update({ sessions, total }, now) {
    this.total = total;
    const news = { joined: /** @type {Stream[]} */ ([]), ended: /** @type {Stream[]} */ ([]) };
    const listed = new Set(sessions.map(({ session }) => session));
    for (const stream of this.streams.values()) {
      if (listed.has(stream.session) || stream.ended) continue;
      // A long list leaves out the oldest streams, which may go on.
      if (sessions.length < total) {
        stream.judge(now);
      } else {
        stream.end("the stream is over", now);
        news.ended.push(stream);
      }
    }
    for (const each of sessions) {
      let stream = this.streams.get(each.session);
      if (!stream) {
        stream = new Stream(each, this._label(each), now);
        this.streams.set(each.session, stream);
        news.joined.push(stream);
      }
      const before = stream.ended;
      stream.update(each, now);
      if (stream.ended && !before) news.ended.push(stream);
    }
    this._forget(now, listed);
    this._fill(this._chosen ? news.joined : [...this.streams.values()]);
    return news;
  }

  /**
   * Puts a stream on the wall, or takes it off.
   * @param {string} session
   * @param {boolean} on
   */
  choose(session, on) {
    const stream = this.streams.get(session);
    if (!stream) return;
    this._chosen = true;
    if (on) {
      this._hidden.delete(session);
      this._place(stream);
    } else {
      this._hidden.add(session);
      this.shown = this.shown.filter((each) => each !== stream);
    }
  }

  /** Whether another stream fits. */
  get hasRoom() {
    return this.shown.length < MAX_TILES || this.shown.some((stream) => stream.ended && !stream.own);
  }

  /**
   * @param {number} now milliseconds
   * @param {Set<string>} listed sessions of the newest list
   */
  _forget(now, listed) {
    for (const stream of this.streams.values()) {
      if (stream.own || listed.has(stream.session)) continue;
      const stays = stream.ended
        ? this.shown.includes(stream) && now - stream.endedAt < ENDED_MS
        : this.shown.includes(stream) || this._hidden.has(stream.session);
      if (stays) continue;
      this.streams.delete(stream.session);
      this._hidden.delete(stream.session);
      this.shown = this.shown.filter((each) => each !== stream);
    }
  }

  /**
   * Fills free places: at first those with music, the newest first.
   * @param {Stream[]} candidates
   */
  _fill(candidates) {
    const waiting = candidates.filter((stream) => !stream.ended || stream.own)
      .filter((stream) => !this.shown.includes(stream) && !this._hidden.has(stream.session));
    waiting.sort((a, b) => Number(b.own) - Number(a.own) || Number(b.live) - Number(a.live) || a.uptime - b.uptime);
    for (const stream of waiting) this._place(stream);
  }

  /** @param {Stream} stream */
  _place(stream) {
    if (this.shown.includes(stream)) return;
    if (this.shown.length < MAX_TILES) {
      this.shown = [...this.shown, stream];
      return;
    }
    const place = this.shown.findIndex((each) => each.ended && !each.own);
    if (place >= 0) this.shown = this.shown.with(place, stream);
  }

  /**
   * @param {ListedSession} listed
   * @returns {string} a name that no other stream of this wall has
   */
  _label({ input }) {
    const name = input.name || input.kind;
    const count = (this._names.get(name) ?? 0) + 1;
    this._names.set(name, count);
    return count > 1 ? `${name} (${count})` : name;
  }
}
