/** Words and numbers as the page shows them. Everything that came from outside goes through `clean`. */

// Control characters, and the marks that reorder text: a device name must not be able to rearrange the page.
const UNSHOWABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g;

/**
 * A string from outside as one safe, short line. The page only ever writes it with `textContent`.
 * @param {unknown} value
 * @param {number} [limit] most characters kept
 * @returns {string} empty for anything but a string
 */
export function clean(value, limit = 160) {
  if (typeof value !== "string") return "";
  const line = value.slice(0, limit * 4).replace(UNSHOWABLE, " ").replace(/\s+/g, " ").trim();
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
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * @param {number} seconds
 * @returns {string} the one or two largest units: `8 s`, `4 min`, `2 h 5 min`
 */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${Math.floor(minutes / 60)} h`;
}

/**
 * @param {number} value a number of seconds or milliseconds
 * @returns {string} with as many digits as can be read: `0.4`, `4`, `10`, `2.5`
 */
export function brief(value) {
  if (!Number.isFinite(value)) return "–";
  const rounded = Math.abs(value) < 10 ? Math.round(value * 10) / 10 : Math.round(value);
  return String(rounded);
}

/**
 * What an estimate costs in time: what the model looks back over, and what the machine adds to it.
 * @param {import("./protocol.js").Latency} latency
 * @returns {string} `looks back 10 s; adds 4 ms`
 */
export function latencyLine(latency) {
  const added = latency.buffer_ms + latency.compute_ms + latency.queue_ms;
  return `looks back ${brief(latency.window_s)} s; adds ${added < 1 ? brief(added) : Math.round(added)} ms`;
}

/**
 * @param {number} count
 * @param {string} one the noun for one
 * @param {string} [many] the noun for several; `one` with an s where left out
 * @returns {string}
 */
export function counted(count, one, many = one + "s") {
  return `${count} ${count === 1 ? one : many}`;
}
