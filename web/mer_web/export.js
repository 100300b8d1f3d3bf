/** The history as CSV: the columns of `realtime-mer analyze`, preceded by the session. */

const LATENCY = /** @type {const} */ (["window_s", "buffer_ms", "compute_ms", "queue_ms"]);
/** Empty where there are no fast values. */
const FAST = /** @type {const} */ ([
  "window_s", "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
]);

/** Empty with the range raw. */
const SCALED = /** @type {const} */ ([
  "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
]);

export const COLUMNS = /** @type {const} */ ([
  "session", "seq", "t", "utc", "valence", "arousal", "valence_low", "valence_high", "arousal_low", "arousal_high",
  "mood", "state", "level_db", ...LATENCY, ...FAST.map((name) => `fast_${name}`),
  ...SCALED.map((name) => `scaled_${name}`),
]);

/**
 * A text cell, quoted where CSV requires it. A leading apostrophe keeps spreadsheets from running formulas.
 * @param {string} text
 * @returns {string}
 */
export function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * @param {number} value
 * @param {number} decimals maximum number of decimals
 * @returns {string} with a decimal point, a plain minus and no trailing zeros
 */
function plain(value, decimals) {
  const text = String(Number(value.toFixed(decimals)));
  return text === "-0" ? "0" : text;
}

/**
 * @param {import("./history.js").History} history
 * @returns {string[]} lines with their newlines, header first
 */
export function csvLines(history) {
  const lines = [COLUMNS.join(",") + "\n"];
  for (let i = history.start; i < history.end; i += 1) {
    const row = history.at(i);
    lines.push([
      cell(row.session), plain(row.seq, 0), plain(row.t, 3), cell(row.utc),
      plain(row.valence, 6), plain(row.arousal, 6),
      plain(row.valence_low, 6), plain(row.valence_high, 6), plain(row.arousal_low, 6), plain(row.arousal_high, 6),
      cell(row.mood), cell(row.state), plain(row.level_db, 2),
      ...LATENCY.map((name) => plain(row.latency[name], 3)),
      ...FAST.map((name) => (row.fast ? plain(row.fast[name], 6) : "")),
      ...SCALED.map((name) => (row.scaled ? plain(row.scaled[name], 6) : "")),
    ].join(",") + "\n");
  }
  return lines;
}

/**
 * @param {Date} when
 * @returns {string} a file name that sorts by time and is valid on every file system
 */
export function fileName(when) {
  return `realtime-mer-${when.toISOString().slice(0, 19).replaceAll(":", "-")}Z.csv`;
}

/**
 * Offers the history as a download.
 * @param {import("./history.js").History} history
 */
export function download(history) {
  save(new Blob(csvLines(history), { type: "text/csv" }), fileName(new Date()));
}

/**
 * Offers data as a download.
 * @param {Blob} data
 * @param {string} name of the file
 */
export function save(data, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  // The browser copies the data soon after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
