/** The labels below the timeline: how long ago, close to now; the time of day elsewhere. */

/** A view that follows the newest moment and is not longer than this tells how long ago. */
const AGO_S = 150;
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600];

/** @typedef {{time: number, text: string}} Tick */

/**
 * @typedef {object} Axis
 * @property {number} left       seconds at the left edge
 * @property {number} right      seconds at the right edge
 * @property {boolean} isLive    whether the right edge is now
 * @property {number} perMinute  seconds that a label without seconds takes, with the space around it
 * @property {number} perSecond  the same for the time of day with seconds
 * @property {number} shift      seconds of the axis minus those of the time of day
 */

/** @type {Intl.DateTimeFormat|null} */
let minutes = null;
/** @type {Intl.DateTimeFormat|null} */
let seconds = null;

/**
 * @param {number} utc          seconds since 1970
 * @param {boolean} withSeconds
 * @returns {string} the local time of day: `14:05`, `14:05:30`
 */
export function timeOfDay(utc, withSeconds) {
  minutes ??= new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  seconds ??= new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return (withSeconds ? seconds : minutes).format(utc * 1000);
}

/**
 * @param {number} perLabel seconds that a label takes
 * @returns {number} a round number of seconds between two labels
 */
export function tickStep(perLabel) {
  return STEPS_S.find((step) => step >= perLabel) ?? STEPS_S[STEPS_S.length - 1];
}

/**
 * @param {Axis} axis
 * @returns {Tick[]} from right to left; the first one is `now` where the right edge is that
 */
export function ticks({ left, right, isLive, perMinute, perSecond, shift }) {
  /** @type {Tick[]} */
  const found = isLive ? [{ time: right, text: "now" }] : [];
  const wide = tickStep(perMinute);
  if (isLive && right - left <= AGO_S) {
    for (let ago = wide; ago <= right - left + 1e-6; ago += wide) {
      const text = ago % 60 === 0 ? `−${ago / 60} min` : `−${ago} s`;
      found.push({ time: right - ago, text });
    }
    return found;
  }
  const step = wide < 60 ? tickStep(perSecond) : wide;
  // Hours are round in local time, whatever its distance from UTC.
  const zone = -60 * new Date((right - shift) * 1000).getTimezoneOffset();
  const offset = zone - shift;
  const newest = isLive ? right - (step < 60 ? perSecond : perMinute) : right;
  for (let at = Math.floor((newest + offset) / step) * step; at - offset >= left; at -= step) {
    found.push({ time: at - offset, text: timeOfDay(at - zone, step < 60) });
  }
  return found;
}
