/**
 * `?bench=4`: measures drawing on an hour of synthetic history at ten estimates a second, for so many seconds at
 * each length of the timeline. The page shows the result; `window.merBench` is a promise of it.
 */

/** Estimates of the hour. */
const COUNT = 36000;
const HOP_S = 0.1;

/**
 * A synthetic estimate: slow waves that resemble the estimates of music.
 * @param {number} index
 * @param {number} start  milliseconds since 1970 of estimate 0
 * @returns {import("./protocol.js").Estimate}
 */
function syntheticEstimate(index, start) {
  const t = index * HOP_S;
  const wave = (/** @type {number} */ period, /** @type {number} */ shift) => Math.sin((t / period + shift) * 6.28318);
  const valence = 0.45 * wave(187, 0.1) + 0.2 * wave(41, 0.3) + 0.04 * wave(3.1, 0);
  const arousal = 0.4 * wave(263, 0.6) + 0.25 * wave(59, 0.2) + 0.05 * wave(2.3, 0.5);
  const width = 0.18 + 0.06 * wave(97, 0);
  const cycle = t % 900;
  return {
    type: "estimate", seq: index, t, utc: new Date(start + t * 1000).toISOString(),
    valence, arousal,
    valence_low: Math.max(-1, valence - width), valence_high: Math.min(1, valence + width),
    arousal_low: Math.max(-1, arousal - width), arousal_high: Math.min(1, arousal + width),
    mood: valence > 0 ? (arousal > 0 ? "joyful" : "calm") : arousal > 0 ? "tense" : "sad",
    state: cycle < 10 ? "settling" : cycle > 840 && cycle < 870 ? "silence" : cycle > 890 ? "stalled" : "tracking",
    level_db: -20 + 8 * wave(11, 0),
    latency: { window_s: 10, buffer_ms: 2, compute_ms: 2.4, queue_ms: 0 },
    fast: {
      window_s: 3, valence: valence + 0.15 * wave(13, 0.4), arousal: arousal + 0.15 * wave(17, 0.7),
      valence_low: -1, valence_high: 1, arousal_low: -1, arousal_high: 1,
    },
  };
}

/**
 * @param {number[]} values
 * @param {number} share
 * @returns {number}
 */
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/**
 * @typedef {object} FrameTimes  in milliseconds
 * @property {number} frames
 * @property {number} fps
 * @property {number} interval_p50  between frames
 * @property {number} interval_p95
 * @property {number} draw_p50      of a frame, in the page's own code
 * @property {number} draw_p95
 * @property {number} draw_max
 *
 * @typedef {{estimates: number, "1h": FrameTimes, "10m": FrameTimes, "1m": FrameTimes}} Result
 */

/**
 * @param {Result} result
 * @returns {string} a sentence for the user
 */
export function benchLine(result) {
  const line = (/** @type {string} */ name, /** @type {FrameTimes} */ speed) =>
    `${name}: ${Math.round(speed.fps)} frames/s, drawing takes ${speed.draw_p50} ms (95 %: ${speed.draw_p95} ms)`;
  return `${result.estimates} estimates. ${line("1 h", result["1h"])}; ${line("10 min", result["10m"])}; `
    + `${line("1 min", result["1m"])}.`;
}

/**
 * @typedef {object} Bench
 * @property {(estimate: import("./protocol.js").Estimate) => void} addEstimate   as if the server had sent it
 * @property {(zoom: number) => void} setZoom
 * @property {(listener: ((cost: number, interval: number) => void)|null) => void} onFrame  called for every frame, in ms
 */

/**
 * @param {Bench} page
 * @param {number} seconds how long to measure each length of the timeline
 * @returns {Promise<Result>}
 */
export async function bench(page, seconds) {
  const start = Date.now() - COUNT * HOP_S * 1000;
  for (let i = 0; i < COUNT; i += 1) page.addEstimate(syntheticEstimate(i, start));
  let next = COUNT;
  const begin = performance.now();
  const feed = setInterval(() => {
    while ((next - COUNT) * HOP_S * 1000 <= performance.now() - begin) {
      page.addEstimate(syntheticEstimate(next, start));
      next += 1;
    }
  }, 20);
  const result = /** @type {Result} */ ({ estimates: COUNT });
  for (const [name, zoom] of /** @type {["1h"|"10m"|"1m", number][]} */ ([["1h", 3600], ["10m", 600], ["1m", 60]])) {
    page.setZoom(zoom);
    // Leave out the first frames, which repaint all tiles and compile the code.
    await new Promise((done) => setTimeout(done, 700));
    /** @type {number[]} */
    const costs = [];
    /** @type {number[]} */
    const intervals = [];
    page.onFrame((cost, interval) => {
      costs.push(cost);
      intervals.push(interval);
    });
    await new Promise((done) => setTimeout(done, seconds * 1000));
    page.onFrame(null);
    const round = (/** @type {number} */ value) => Math.round(value * 100) / 100;
    result[name] = {
      frames: costs.length,
      fps: round(1000 * costs.length / intervals.reduce((sum, one) => sum + one, 0)),
      interval_p50: round(quantile(intervals, 0.5)),
      interval_p95: round(quantile(intervals, 0.95)),
      draw_p50: round(quantile(costs, 0.5)),
      draw_p95: round(quantile(costs, 0.95)),
      draw_max: round(Math.max(...costs)),
    };
  }
  clearInterval(feed);
  return result;
}
