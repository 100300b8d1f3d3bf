/** The trail of the point: a few estimates of the history, stable from frame to frame. */

export const TRAIL_S = 45;
const MAX_POINTS = 90;

/**
 * Indices of the history that form the trail. The selection depends on the index alone, so that the trail does
 * not flicker while it moves.
 * @param {import("./history.js").History} history
 * @param {number} end    one past the newest index to show
 * @param {number} now    seconds
 * @returns {number[]} oldest first
 */
export function trailIndices(history, end, now) {
  const from = Math.min(end, Math.max(history.start, history.lowerBound(now - TRAIL_S)));
  if (end <= from) return [];
  const session = history.session[history.slot(end - 1)];
  let first = end;
  while (first > from && history.session[history.slot(first - 1)] === session) first -= 1;
  const stride = Math.max(1, 2 ** Math.ceil(Math.log2((end - first) / MAX_POINTS)));
  const indices = [];
  for (let i = Math.ceil(first / stride) * stride; i < end; i += stride) indices.push(i);
  if (indices[indices.length - 1] !== end - 1) indices.push(end - 1);
  return indices;
}
