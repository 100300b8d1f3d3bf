/** The mood words and their positions on the plane. The server chooses the mood; the page only draws it. */

/** The eight directions, counter-clockwise from positive valence, as the server names them. */
const DIRECTIONS = /** @type {const} */ ([
  "pleased", "joyful", "excited", "tense", "uneasy", "sad", "still", "calm",
]);
export const CENTRE = "neutral";

/**
 * @typedef {object} MoodLabel
 * @property {string} word
 * @property {number} valence   in [-1, 1]: position of the word
 * @property {number} arousal   in [-1, 1]
 * @property {"left"|"center"|"right"} align   keeps the word inside the plane
 */

/** Words are just inside the edge, away from most estimates. */
const EDGE = 0.9;

/** @type {MoodLabel[]} */
export const MOOD_LABELS = DIRECTIONS.map((word, k) => {
  const x = Math.round(Math.cos((k * Math.PI) / 4)) || 0;
  const y = Math.round(Math.sin((k * Math.PI) / 4)) || 0;
  return { word, valence: x * EDGE, arousal: y * EDGE,
           align: x > 0 ? "right" : x < 0 ? "left" : "center" };
});
