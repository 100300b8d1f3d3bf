/**
 * Reads what `--record`, `analyze` and the page's CSV button write, to compare with: in the browser, nothing is sent.
 * What is wrong with a file is a sentence for the user.
 */

import { clean } from "./text.js";

/** A part of a recording has 32 MB at most. */
const MAX_BYTES = 64_000_000;

/** Suffixes of files to compare with; others are taken for sound. */
const SUFFIXES = /\.(jsonl|csv)$/i;

/** Columns without which there is nothing to draw. */
const NEEDED = ["t", "valence", "arousal"];

/** @typedef {{name: string, points: import("./ghost.js").GhostPoint[]}} Curve */

/** A file that cannot be read; `message` is a sentence for the user. */
export class CompareError extends Error {}

/**
 * @param {string} name  of a file
 * @returns {boolean} whether it is one to compare with, and not one to play
 */
export function isCompareFile(name) {
  return SUFFIXES.test(name);
}

/**
 * @param {File} file
 * @returns {Promise<Curve[]>} one for each session in it
 * @throws {CompareError}
 */
export async function readCompareFile(file) {
  const name = clean(file.name, 60);
  if (file.size > MAX_BYTES) {
    throw new CompareError(`“${name}” has ${Math.round(file.size / 1e6)} MB, and this page reads at most `
      + `${MAX_BYTES / 1e6}: compare with a part of it.`);
  }
  let text;
  try {
    text = await file.text();
  } catch {
    throw new CompareError(`“${name}” cannot be read: check that it is still there, and open it again.`);
  }
  return parseCompareFile(text, name);
}

/**
 * @param {string} text
 * @param {string} name  of the file
 * @returns {Curve[]} one for each session in it
 * @throws {CompareError}
 */
export function parseCompareFile(text, name) {
  if (!text.trim()) throw new CompareError(`“${name}” is empty: there is nothing to compare with.`);
  const points = text.trimStart().startsWith("{") ? parseLines(text, name) : parseTable(text, name);
  if (!points.size) throw new CompareError(`“${name}” has no estimates: there is nothing to compare with.`);
  const single = points.size === 1;
  return [...points].map(([session, each]) => ({ name: single ? name : `${name}: ${clean(session, 24) || "–"}`, points: each }));
}

/**
 * @param {string} text  JSON Lines
 * @param {string} name
 * @returns {Map<string, import("./ghost.js").GhostPoint[]>} by session
 */
function parseLines(text, name) {
  /** @type {import("./ghost.js").GhostPoint[]} */
  const points = [];
  const lines = text.split("\n");
  lines.forEach((line, k) => {
    if (!line.trim()) return;
    /** @type {any} */
    let item;
    try {
      item = JSON.parse(line);
    } catch {
      // A power cut may leave half a line at the end of a recording.
      if (k >= lines.length - 1) return;
      throw new CompareError(`Line ${k + 1} of “${name}” is not JSON: open a recording's estimates.jsonl, or a CSV.`);
    }
    if ((item?.type ?? "estimate") !== "estimate") return;
    const scaled = item?.scaled && { valence: Number(item.scaled.valence), arousal: Number(item.scaled.arousal) };
    points.push(checked({ t: item?.t, valence: item?.valence, arousal: item?.arousal, ...(scaled && { scaled }) }, k + 1, name));
  });
  return new Map(points.length ? [["", points]] : []);
}

/**
 * @param {string} text  CSV
 * @param {string} name
 * @returns {Map<string, import("./ghost.js").GhostPoint[]>} by session
 */
function parseTable(text, name) {
  const rows = text.split(/\r?\n/);
  const header = cells(rows[0].replace(/^\uFEFF/, ""));
  const missing = NEEDED.filter((column) => !header.includes(column));
  if (missing.length) {
    throw new CompareError(`“${name}” has no column ${missing.join(", ")}: open a CSV of this page or of realtime-mer analyze, `
      + "or a recording's estimates.jsonl.");
  }
  /** @type {Map<string, import("./ghost.js").GhostPoint[]>} */
  const sessions = new Map();
  rows.forEach((row, k) => {
    if (k === 0 || !row.trim()) return;
    const parts = cells(row);
    const read = (/** @type {string} */ column) => parts[header.indexOf(column)] ?? "";
    const value = (/** @type {string} */ column) => (read(column) === "" ? NaN : Number(read(column)));
    const scaled = { valence: value("scaled_valence"), arousal: value("scaled_arousal") };
    const point = checked({ t: value("t"), valence: value("valence"), arousal: value("arousal"),
                            ...(!Number.isNaN(scaled.valence) && { scaled }) }, k + 1, name);
    const session = read("session");
    const points = sessions.get(session);
    if (points) points.push(point);
    else sessions.set(session, [point]);
  });
  return sessions;
}

/**
 * @param {string} row of a CSV
 * @returns {string[]}
 */
function cells(row) {
  return [...row.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) =>
    (quoted === undefined ? plain : quoted.replaceAll('""', '"')));
}

/**
 * @param {import("./ghost.js").GhostPoint} point
 * @param {number} line
 * @param {string} name
 * @returns {import("./ghost.js").GhostPoint}
 */
function checked(point, line, name) {
  const parts = [point, ...(point.scaled ? [point.scaled] : [])];
  const isValue = (/** @type {unknown} */ value) => typeof value === "number" && Math.abs(value) <= 1;
  if (Number.isFinite(point.t) && parts.every(({ valence, arousal }) => isValue(valence) && isValue(arousal))) return point;
  throw new CompareError(`Line ${line} of “${name}” is no estimate: t has to be a number, valence and arousal from −1 to 1.`);
}
