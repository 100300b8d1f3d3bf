/** Curtains of light over a night sky. A pleasant mood lifts their ends, an unpleasant one lets them hang. */

import { flatContext, neighbours, shaderScene } from "../stage-shader.js";

export const label = "Aurora";

const LIGHT = `
vec3 light(vec2 p) {
  float energy = 0.5 + 0.5 * arousal;
  vec3 sum = mix(colder, vec3(0.02, 0.03, 0.08), 0.6) * 0.05 * (1.0 - 0.4 * p.y);
  float star = hash(floor(p * 90.0));
  vec2 inside = fract(p * 90.0) - 0.5;
  sum += smoothstep(0.992, 1.0, star) * exp(-dot(inside, inside) * 30.0)
    * (0.12 + 0.1 * sin(time * (0.5 + star * 2.0) + star * 300.0)) * smoothstep(-0.6, 0.6, p.y);
  for (int i = 0; i < 4; i++) {
    float f = float(i);
    float way = i % 2 == 0 ? 1.0 : -1.0;
    float x = p.x * (0.6 + 0.13 * f) + f * 5.3 + way * phase * (0.09 + 0.03 * f);
    float base = -0.62 + 0.3 * f + 0.5 * (noise(vec2(x * 0.9, phase * 0.11 + f * 3.0)) - 0.5)
      + 0.13 * valence * (p.x * p.x - 0.8);
    x += 0.5 * noise(vec2(x * 1.7, phase * 0.2 + f)) + 0.1 * energy * noise(vec2(x * 5.0, phase * 0.45));
    float height = 0.3 + 0.5 * level + 0.55 * bands[i + 1];
    float h = p.y - base;
    float body = smoothstep(-0.09, 0.05, h) * exp(-max(h, 0.0) * 1.9 / height);
    float rays = 0.3 + 0.7 * noise(vec2(x * (5.0 + 6.0 * energy), phase * 0.3 + f * 9.0));
    rays *= 0.55 + 0.75 * noise(vec2(x * (17.0 + 16.0 * energy), phase * 0.7 + f * 5.0));
    float curtain = smoothstep(0.25, 0.6, noise(vec2(x * 0.55 + f * 7.0, phase * 0.06)) + 0.18 + 0.25 * level);
    vec3 tint = mix(mix(color, warmer, smoothstep(0.0, 0.12, h) * 0.3), colder, clamp(h / (height * 1.6), 0.0, 1.0));
    sum += tint * body * rays * curtain * (0.45 + 1.1 * level + 0.8 * onset * exp(-abs(h) * 5.0)) * (2.3 - 0.3 * f);
  }
  return sum;
}`;

const CURTAINS = 3;
const COLUMNS = 64;
const SPRITE = [8, 64];

/** @param {import("../stage-picture.js").Means} means */
export function create(means) {
  return shaderScene(means, LIGHT, [0.55, 0.85], ({ canvas, palette }) => new Flat(canvas, palette));
}

/** Without WebGL2: columns of a sprite that fades to the top. */
class Flat {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("../stage-picture.js").Means["palette"]} palette
   */
  constructor(canvas, palette) {
    this._context = flatContext(canvas);
    this._palette = palette;
    this._sprites = [0, 1, 2].map(() => {
      const sprite = document.createElement("canvas");
      [sprite.width, sprite.height] = SPRITE;
      return /** @type {CanvasRenderingContext2D} */ (sprite.getContext("2d", { willReadFrequently: true }));
    });
  }

  /**
   * @param {import("../stage-picture.js").Moment} moment
   * @param {number} phase
   */
  draw(moment, phase) {
    const context = this._context;
    const { width, height } = context.canvas;
    const { color, warmer, colder } = neighbours(moment, this._palette);
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
    context.fillStyle = `rgb(${colder.map((part) => Math.round(part * 0.09 + 4))})`;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "lighter";
    [color, warmer, colder].forEach((tint, k) => {
      const sprite = this._sprites[k];
      const [wide, high] = SPRITE;
      const gradient = sprite.createLinearGradient(0, 0, 0, high);
      gradient.addColorStop(0, `rgba(${colder},0)`);
      gradient.addColorStop(0.55, `rgba(${tint},0.2)`);
      gradient.addColorStop(0.88, `rgba(${tint},0.75)`);
      gradient.addColorStop(1, `rgba(${tint},0)`);
      sprite.globalCompositeOperation = "copy";
      sprite.fillStyle = gradient;
      sprite.fillRect(0, 0, wide, high);
      // Soft sides, so that columns that overlap are a veil.
      const sides = sprite.createLinearGradient(0, 0, wide, 0);
      sides.addColorStop(0, "transparent");
      sides.addColorStop(0.5, "#000");
      sides.addColorStop(1, "transparent");
      sprite.globalCompositeOperation = "destination-in";
      sprite.fillStyle = sides;
      sprite.fillRect(0, 0, wide, high);
    });
    const step = width / COLUMNS;
    const energy = 0.5 + 0.5 * moment.arousal;
    for (let curtain = 0; curtain < CURTAINS; curtain += 1) {
      const tall = (0.3 + 0.35 * moment.level + 0.3 * moment.bands[2 * curtain]) * height;
      const way = curtain % 2 ? -1 : 1;
      for (let column = 0; column <= COLUMNS; column += 1) {
        const x = column / COLUMNS;
        const u = x * (2.2 + curtain * 0.7) + way * phase * 0.16 + curtain * 5;
        const base = 0.86 - 0.2 * curtain + 0.09 * Math.sin(u * 2.1) + 0.05 * Math.sin(u * 4.7 + phase * 0.4)
          - 0.12 * moment.valence * ((2 * x - 1) ** 2 - 0.35);
        const rays = 0.5 + 0.25 * Math.sin(u * (9 + 6 * energy) + phase * 0.7) + 0.25 * Math.sin(u * 23.3 - phase);
        const veil = 0.5 + 0.5 * Math.sin(u * 1.3 + phase * 0.2 + curtain);
        context.globalAlpha = Math.min(1, rays * veil * (0.3 + 0.55 * moment.level + 0.15 * moment.onset));
        context.drawImage(this._sprites[curtain].canvas, (column - 1.2) * step, base * height - tall * (0.7 + 0.5 * rays),
          step * 2.4, tall * (0.7 + 0.5 * rays));
      }
    }
  }
}
