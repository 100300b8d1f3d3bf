/** Six rings, one for each band of the sound. A pleasant mood makes them round and even, an unpleasant one rough. */

import { flatContext, neighbours, shaderScene } from "../stage-shader.js";

export const label = "Rings";

const LIGHT = `
vec3 light(vec2 p) {
  float energy = 0.5 + 0.5 * arousal;
  p += 0.05 * vec2(sin(phase * 0.23), cos(phase * 0.19));
  float radius = length(p);
  float angle = atan(p.y, p.x);
  float rough = 0.015 + 0.09 * smoothstep(0.5, -0.8, valence);
  vec3 sum = color * 0.05 * exp(-radius * 1.3) * (0.6 + 2.0 * level);
  for (int i = 0; i < 6; i++) {
    float f = float(i);
    float way = i % 2 == 0 ? 1.0 : -1.0;
    float turn = angle + way * phase * (0.1 + 0.03 * f);
    vec2 around = vec2(cos(turn), sin(turn));
    float wave = rough * 2.0 * (noise(around * (1.6 + f * 0.5) + vec2(phase * 0.3, f * 8.0)) - 0.5)
      + 0.012 * cos(turn * (3.0 + f)) * smoothstep(-0.4, 0.6, valence);
    float place = 0.2 + 0.165 * f + wave + 0.05 * level + 0.05 * bands[i];
    float thick = 0.005 + 0.012 * level + 0.04 * bands[i];
    float from = abs(radius - place);
    float arc = 0.35 + 0.65 * smoothstep(-0.6, 0.7, cos(turn * (1.0 + floor(f * 0.5)) + f));
    float line = smoothstep(thick, thick * 0.25, from);
    float glow = exp(-from * (34.0 - 16.0 * level)) * 0.35;
    vec3 tint = f < 2.0 ? mix(colder, color, f * 0.5) : mix(color, warmer, (f - 2.0) / 3.0);
    sum += 1.7 * tint * (line + glow) * arc * (0.22 + 0.5 * level + 1.1 * bands[i]);
  }
  float front = radius - 0.15 - (1.0 - onset) * (0.7 + 0.5 * energy);
  sum += warmer * onset * onset * 0.8 * exp(-front * front * 260.0);
  return sum;
}`;

/** @param {import("../stage-picture.js").Means} means */
export function create(means) {
  return shaderScene(means, LIGHT, [0.6, 1.1], ({ canvas, palette }) => {
    const context = flatContext(canvas);
    return { draw: (moment, phase) => drawFlat(context, moment, palette, phase) };
  });
}

/**
 * Without WebGL2: strokes.
 * @param {CanvasRenderingContext2D} context
 * @param {import("../stage-picture.js").Moment} moment
 * @param {import("../stage-picture.js").Means["palette"]} palette
 * @param {number} phase
 */
function drawFlat(context, moment, palette, phase) {
  const { width, height } = context.canvas;
  const { color, warmer, colder } = neighbours(moment, palette);
  const unit = height / 2;
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 1;
  context.fillStyle = `rgb(${color.map((part) => Math.round(part * (0.04 + 0.06 * moment.level)))})`;
  context.fillRect(0, 0, width, height);
  context.save();
  context.translate(width / 2 + unit * 0.05 * Math.sin(phase * 0.23), height / 2 + unit * 0.05 * Math.cos(phase * 0.19));
  context.globalCompositeOperation = "lighter";
  const rough = 0.01 + 0.05 * Math.max(0, Math.min(1, (0.5 - moment.valence) / 1.3));
  for (let k = 0; k < 6; k += 1) {
    const band = moment.bands[k];
    const turn = (k % 2 ? -1 : 1) * phase * (0.1 + 0.03 * k);
    context.strokeStyle = `rgb(${k < 2 ? colder : k < 4 ? color : warmer})`;
    context.beginPath();
    for (let step = 0; step <= 72; step += 1) {
      const angle = (step / 72) * 2 * Math.PI;
      const wave = rough * (Math.sin(angle * 3 + turn * 3 + k) + Math.sin(angle * 5 - turn * 2 + k * 2));
      const radius = unit * (0.2 + 0.165 * k + wave + 0.05 * moment.level + 0.05 * band);
      context.lineTo(radius * Math.cos(angle + turn), radius * Math.sin(angle + turn));
    }
    context.closePath();
    for (const [thick, alpha] of [[1, 0.9], [4, 0.16]]) {
      context.lineWidth = unit * thick * (0.008 + 0.012 * moment.level + 0.045 * band);
      context.globalAlpha = Math.min(1, alpha * (0.3 + 0.4 * moment.level + 0.6 * band));
      context.stroke();
    }
  }
  context.globalAlpha = 0.5 * moment.onset ** 2;
  context.strokeStyle = `rgb(${warmer})`;
  context.lineWidth = unit * 0.08;
  context.beginPath();
  context.arc(0, 0, unit * (0.15 + (1 - moment.onset) * (1 + 0.3 * moment.arousal)), 0, 2 * Math.PI);
  context.stroke();
  context.restore();
}
