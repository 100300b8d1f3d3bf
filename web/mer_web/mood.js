/** The mood words and where each stands on the plane. The server names the mood; the page only places it. */

/** The eight directions, counter-clockwise from positive valence, as the server names them. */
export const DIRECTIONS = /** @type {const} */ ([
  "pleased", "joyful", "excited", "tense", "uneasy", "sad", "still", "calm",
]);
export const CENTRE = "neutral";

/**
 * @typedef {object} Place
 * @property {string} word
 * @property {number} valence   in [-1, 1]: where the word is written
 * @property {number} arousal   in [-1, 1]
 * @property {"left"|"center"|"right"} align   so that the word stays inside the plane
 */

/** Words stand just inside the edge, clear of where music lies. */
const EDGE = 0.9;

/** @type {Place[]} */
export const PLACES = DIRECTIONS.map((word, k) => {
  const x = Math.round(Math.cos((k * Math.PI) / 4)) || 0;
  const y = Math.round(Math.sin((k * Math.PI) / 4)) || 0;
  return { word, valence: x * EDGE, arousal: y * EDGE,
           align: x > 0 ? "right" : x < 0 ? "left" : "center" };
});
