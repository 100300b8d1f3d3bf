/** The picture of a projector on a tilted or crooked wall: four corners, and the CSS transform that puts it there. */

/**
 * @typedef {[number, number]} Point    share of the window's width and height
 * @typedef {[Point, Point, Point, Point]} Corners  top left, top right, bottom right, bottom left
 */

/** @type {Corners} */
export const WHOLE = [[0, 0], [1, 0], [1, 1], [0, 1]];

/** Smallest turn at a corner, as a cross product of shares: flatter ones have no picture. */
const MIN_TURN = 0.01;

/**
 * @param {Corners} corners
 * @returns {boolean} whether they span a picture: convex, not mirrored, not flat
 */
export function areValid(corners) {
  return corners.every((corner, k) => {
    const next = corners[(k + 1) % 4];
    const after = corners[(k + 2) % 4];
    const turn = (next[0] - corner[0]) * (after[1] - next[1]) - (next[1] - corner[1]) * (after[0] - next[0]);
    return turn > MIN_TURN;
  });
}

/**
 * The homography from the rectangle to the corners (Heckbert 1989, square to quadrilateral).
 * @param {Corners} corners
 * @param {number} width   of the rectangle
 * @param {number} height
 * @returns {number[]} nine numbers, by rows, the last one 1: (x, y) goes to (m0 x + m1 y + m2, m3 x + m4 y + m5) /
 *   (m6 x + m7 y + 1)
 */
export function homography(corners, width, height) {
  const [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = corners.map(([x, y]) => [x * width, y * height]);
  const sumX = x0 - x1 + x2 - x3;
  const sumY = y0 - y1 + y2 - y3;
  const [dx1, dx2, dy1, dy2] = [x1 - x2, x3 - x2, y1 - y2, y3 - y2];
  const determinant = dx1 * dy2 - dx2 * dy1;
  const g = (sumX * dy2 - dx2 * sumY) / determinant;
  const h = (dx1 * sumY - sumX * dy1) / determinant;
  return [
    (x1 - x0 + g * x1) / width, (x3 - x0 + h * x3) / height, x0,
    (y1 - y0 + g * y1) / width, (y3 - y0 + h * y3) / height, y0,
    g / width, h / height, 1,
  ];
}

/**
 * @param {Corners} corners
 * @param {number} width   of the element in CSS pixels
 * @param {number} height
 * @returns {string} its CSS transform, for the origin at its top left corner
 */
export function cssTransform(corners, width, height) {
  if (String(corners) === String(WHOLE)) return "none";
  const [a, b, c, d, e, f, g, h] = homography(corners, width, height);
  return `matrix3d(${[a, d, 0, g, b, e, 0, h, 0, 0, 1, 0, c, f, 0, 1].map((part) => part.toPrecision(9)).join(",")})`;
}

/**
 * @param {string|null} text  as stored
 * @returns {Corners} the whole window where the text is none or not valid
 */
export function parseCorners(text) {
  const numbers = (text ?? "").split(",").map(Number);
  if (numbers.length !== 8 || !numbers.every(Number.isFinite)) return WHOLE;
  const corners = /** @type {Corners} */ ([0, 2, 4, 6].map((k) => [numbers[k], numbers[k + 1]]));
  return areValid(corners) ? corners : WHOLE;
}
