/**
 * What the plane does with the pulse of the music. What is large is slow and what is quick is small, so that nothing
 * flashes: the glow follows within half a second, and a beat moves only the point.
 */

import { PULSE_BANDS } from "./protocol.js";

/** Seconds in which the glow follows the music. */
const RISE_S = 0.45;
const FALL_S = 0.9;
/** Beats follow each other at least this closely: fewer than three a second. */
const MIN_BEAT_S = 0.35;
const BEAT_FALL_S = 0.22;
/** Time in which the glow comes and goes with the music. */
const PRESENCE_S = 0.5;
/** Smaller changes cannot be seen. */
const VISIBLE = 0.002;

export class Breath {
  constructor() {
    /** 0 to 1: how loud and how deep the music is. */
    this.swell = 0;
    /** 0 to 1: 1 at an onset, falling. */
    this.beat = 0;
    /** 0 to 1: whether there is music. */
    this.presence = 0;
    /** From low to high, each 0 to 1. */
    this.bands = new Float32Array(PULSE_BANDS);
    this._sinceBeat = Infinity;
    /** Whether it moves, and the plane has to be drawn. */
    this.moving = false;
  }

  /**
   * @param {number} seconds  since the last step
   * @param {import("./pulse.js").PulseState|null} pulse  null for a view that stands still
   * @param {boolean} isMusic whether the values shown are of now
   */
  step(seconds, pulse, isMusic) {
    const live = pulse && pulse.live && isMusic ? pulse : null;
    const aim = live ? 0.5 * live.level + 0.5 * Math.max(live.bands[0], live.bands[1]) : 0;
    const before = this.swell + this.presence;
    this.swell = follow(this.swell, aim, seconds, aim > this.swell ? RISE_S : FALL_S);
    this.presence = follow(this.presence, isMusic ? 1 : 0, seconds, PRESENCE_S);
    this._sinceBeat += seconds;
    this.beat *= Math.exp(-seconds / BEAT_FALL_S);
    if (live && live.onset > this.beat && this._sinceBeat >= MIN_BEAT_S) {
      this.beat = live.onset;
      this._sinceBeat = 0;
    }
    if (live) this.bands.set(live.bands);
    else this.bands.fill(0);
    this.moving = Math.abs(this.swell + this.presence - before) > VISIBLE * seconds || this.beat > VISIBLE
      || this.bands.some((band) => band > VISIBLE);
  }

  /**
   * For reduced motion: nothing breathes.
   * @param {boolean} isMusic
   */
  rest(isMusic) {
    this.moving = this.presence !== Number(isMusic) || this.swell !== 0 || this.beat !== 0;
    this.presence = Number(isMusic);
    this.swell = this.beat = 0;
    this.bands.fill(0);
  }
}

/**
 * @param {number} value
 * @param {number} aim
 * @param {number} seconds  since the last step
 * @param {number} constant seconds
 * @returns {number} the value, so much closer to its aim
 */
function follow(value, aim, seconds, constant) {
  const next = aim + (value - aim) * Math.exp(-seconds / constant);
  return Math.abs(next - aim) < VISIBLE ? aim : next;
}
