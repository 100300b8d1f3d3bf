/** The colour of the mood alone, breathing with the level: the calmest scene, and the one that takes over for others. */

import { flatContext, neighbours, shaderScene } from "../stage-shader.js";

export const label = "Plain colour";

const LIGHT = `
vec3 light(vec2 p) {
  vec2 middle = vec2(0.6 * sin(phase * 0.11), 0.35 * sin(phase * 0.083 + 1.0) + 0.15 * arousal);
  vec2 from = p - middle;
  float near = exp(-dot(from, from) * (1.1 - 0.5 * level));
  vec3 sum = mix(colder * 0.35, color, near);
  sum = mix(sum, warmer, 0.35 * clouds(p * 0.7 + phase * 0.05));
  return sum * (0.16 + 0.75 * level + 0.12 * onset * near) * (0.45 + 0.55 * near);
}`;

/** @param {import("../stage-picture.js").Means} means */
export function create(means) {
  return shaderScene(means, LIGHT, [0.5, 0.6], ({ canvas, palette }) => {
    const context = flatContext(canvas);
    return { draw: (moment, phase) => drawFlat(context, moment, palette, phase) };
  });
}

/**
 * Without WebGL2: one gradient.
 * @param {CanvasRenderingContext2D} context
 * @param {import("../stage-picture.js").Moment} moment
 * @param {import("../stage-picture.js").Means["palette"]} palette
 * @param {number} phase
 */
function drawFlat(context, moment, palette, phase) {
  const { width, height } = context.canvas;
  const { color, colder } = neighbours(moment, palette);
  const x = width * (0.5 + 0.17 * Math.sin(phase * 0.11));
  const y = height * (0.5 - 0.17 * Math.sin(phase * 0.083 + 1) - 0.07 * moment.arousal);
  const shine = Math.min(1, 0.36 + 0.5 * moment.level + 0.06 * moment.onset);
  const gradient = context.createRadialGradient(x, y, 0, x, y, Math.hypot(width, height) * (0.5 + 0.2 * moment.level));
  gradient.addColorStop(0, `rgb(${color.map((part) => Math.round(part * shine))})`);
  gradient.addColorStop(0.5, `rgb(${color.map((part, k) => Math.round((0.6 * part + 0.4 * colder[k]) * shine * 0.6))})`);
  gradient.addColorStop(1, `rgb(${colder.map((part) => Math.round(part * shine * 0.2))})`);
  context.fillStyle = gradient;
  context.fillRect(0, 0, width, height);
}
