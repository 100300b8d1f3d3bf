/** Formats text and numbers for the page. All text from outside passes through `clean`. */

// Control characters and marks that reorder or hide text: a device name must not change the layout of the page.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu;
/** Marks above and below one letter, of which no language needs more: a heap of them covers the lines around it. */
const HEAPED_MARKS = /(\p{M}{4})\p{M}+/gu;

/**
 * Makes a string from outside a safe, short line. The page writes it with `textContent` only.
 * @param {unknown} value
 * @param {number} [limit] maximum number of characters
 * @returns {string} empty for anything but a string
 */
export function clean(value, limit = 160) {
  if (typeof value !== "string") return "";
  const line = value.slice(0, limit * 4).replace(UNPRINTABLE, " ").replace(HEAPED_MARKS, "$1").replace(/\s+/g, " ").trim();
  const letters = Array.from(line);
  return letters.length > limit ? letters.slice(0, limit - 1).join("") + "…" : line;
}

/**
 * A number with its sign and a true minus: `+0.42`, `−0.13`, never `−0.00`.
 * @param {number} value
 * @param {number} [decimals]
 * @returns {string}
 */
export function signed(value, decimals = 2) {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.abs(value).toFixed(decimals);
  return (value < 0 && Number(digits) !== 0 ? "−" : "+") + digits;
}

/**
 * @param {number} seconds
 * @returns {string} `0:07`, `12:30`, `1:02:03`
 */
export function clock(seconds) {
  const total = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const padded = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor(total / 60) % 60;
  return hours > 0 ? `${hours}:${padded(minutes)}:${padded(total % 60)}` : `${minutes}:${padded(total % 60)}`;
}

/**
 * @param {number} seconds
 * @returns {string} the one or padded largest units: `8 s`, `4 min`, `2 h 5 min`
 */
export function span(seconds) {
  const total = Math.max(0, Math.round(seconds));
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${Math.floor(minutes / 60)} h`;
}

/**
 * @param {number} value a number of seconds or milliseconds
 * @returns {string} with at most two significant digits below 10: `0.4`, `4`, `10`, `2.5`
 */
export function brief(value) {
  if (!Number.isFinite(value)) return "–";
  const rounded = Math.abs(value) < 10 ? Math.round(value * 10) / 10 : Math.round(value);
  return String(rounded);
}

/**
 * The latency of an estimate: how far the model looks back, and what the machine adds.
 * @param {import("./protocol.js").Latency} latency
 * @returns {string} `looks back 10 s; adds 4 ms`
 */
export function latencyLine(latency) {
  const added = latency.buffer_ms + latency.compute_ms + latency.queue_ms;
  return `looks back ${brief(latency.window_s)} s; adds ${added < 1 ? brief(added) : Math.round(added)} ms`;
}

/**
 * @param {number} count
 * @param {string} one the singular noun
 * @param {string} [many] the plural noun; default: `one` with an s
 * @returns {string}
 */
export function counted(count, one, many = one + "s") {
  return `${count} ${count === 1 ? one : many}`;
}
