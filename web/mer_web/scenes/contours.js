/** Lines of equal height of a slow landscape, as on a map. A pleasant mood makes it symmetric, an excited one dense. */

import { flatContext, neighbours, shaderScene } from "../stage-shader.js";

export const label = "Contour field";

const LIGHT = `
float land(vec2 q) {
  q += 0.35 * vec2(clouds(q + phase * 0.05), clouds(q + 9.0 - phase * 0.04));
  return clouds(q + vec2(3.0, phase * 0.06));
}
vec3 light(vec2 p) {
  float energy = 0.5 + 0.5 * arousal;
  vec2 q = p * (0.75 + 0.4 * energy);
  // Half of the land and half of its mirror image are symmetric.
  float mirror = 0.5 * smoothstep(-0.1, 0.7, valence);
  float field = mix(land(q), land(vec2(-q.x, q.y)), mirror) + 0.1 * bands[0] * exp(-dot(p, p));
  float steps = 9.0 + 9.0 * energy;
  float value = field * steps - phase * 0.35;
  float from = abs(fract(value) - 0.5);
  float width = fwidth(value);
  float bold = step(0.75, fract(floor(value + 0.5) / 4.0));
  float line = 1.0 - smoothstep(0.0, width * (1.0 + 0.8 * bold) + 0.02 + 0.05 * level, 0.5 - from);
  float glow = exp(-(0.5 - from) * (14.0 - 7.0 * level));
  vec3 tint = mix(colder, warmer, smoothstep(0.2, 0.8, field));
  tint = mix(tint, color, 0.45);
  float ring = length(p) - (1.0 - onset) * 2.2;
  float accent = onset * exp(-ring * ring * 9.0);
  float edge = 1.0 - 0.35 * smoothstep(0.6, 2.0, length(p));
  return 1.6 * edge * tint * (line * (0.25 + 1.2 * level + 0.3 * bold + 0.9 * accent) + glow * (0.05 + 0.22 * level + 0.2 * accent)
    + 0.03 + 0.07 * field * level);
}`;

/** Cells of the grid of the drawing without WebGL2. */
const GRID_COLUMNS = 72;
const GRID_ROWS = 40;

/** @param {import("../stage-picture.js").Means} means */
export function create(means) {
  return shaderScene(means, LIGHT, [0.5, 0.8], ({ canvas, palette }) => new Flat(canvas, palette));
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} phase
 * @param {number} bass 0 to 1
 * @returns {number} the height of the land there, about -1 to 1
 */
function land(x, y, phase, bass) {
  return 0.4 * Math.sin(x * 1.3 + Math.sin(y * 1.1 + phase * 0.13) * 1.4 + phase * 0.1)
    + 0.35 * Math.sin(y * 1.7 - phase * 0.12 + Math.sin(x * 0.9 - phase * 0.07) * 1.6)
    + 0.25 * Math.sin((x + y) * 1.1 + phase * 0.17) * (1 + 0.4 * bass);
}

/** Without WebGL2: marching squares on a coarse grid. */
class Flat {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("../stage-picture.js").Means["palette"]} palette
   */
  constructor(canvas, palette) {
    this._context = flatContext(canvas);
    this._palette = palette;
    this._field = new Float32Array((GRID_COLUMNS + 1) * (GRID_ROWS + 1));
  }

  /**
   * @param {import("../stage-picture.js").Moment} moment
   * @param {number} phase
   */
  draw(moment, phase) {
    const context = this._context;
    const { width, height } = context.canvas;
    const { color, warmer, colder } = neighbours(moment, this._palette);
    context.globalAlpha = 1;
    context.fillStyle = `rgb(${color.map((part) => Math.round(part * (0.05 + 0.05 * moment.level)))})`;
    context.fillRect(0, 0, width, height);
    this._measure(moment, phase, width / height);
    const levels = Math.round(7 + 3 * (1 + moment.arousal));
    context.lineCap = "round";
    context.lineJoin = "round";
    for (let k = 0; k < levels; k += 1) {
      const place = (k + 1 - ((phase * 0.12) % 1)) / levels;
      context.strokeStyle = `rgb(${place < 0.36 ? colder : place > 0.64 ? warmer : color})`;
      // Lines come and go at the ends without a jump.
      const visible = Math.min(1, 6 * place, 6 * (1 - place));
      const accent = moment.onset * Math.exp(-(((place - moment.onset) * 4) ** 2));
      context.globalAlpha = Math.max(0, visible * Math.min(1, 0.5 + 0.25 * moment.level + 0.2 * accent));
      context.lineWidth = (height / 360) * (1.2 + 1.5 * moment.level + 0.8 * accent);
      context.beginPath();
      this._trace(2 * place - 1, width / GRID_COLUMNS, height / GRID_ROWS);
      context.stroke();
      // The same line, wide and faint, is its glow.
      context.lineWidth *= 4;
      context.globalAlpha *= 0.16;
      context.stroke();
    }
  }

  /**
   * Heights from -1 to 1 at the nodes of the grid.
   * @param {import("../stage-picture.js").Moment} moment
   * @param {number} phase
   * @param {number} aspect
   */
  _measure(moment, phase, aspect) {
    // Half of the land and half of its mirror image are symmetric.
    const mirror = 0.5 * Math.max(0, Math.min(1, (moment.valence + 0.1) / 0.8));
    const density = 1.6 + 0.5 * moment.arousal;
    let node = 0;
    for (let row = 0; row <= GRID_ROWS; row += 1) {
      const y = ((2 * row) / GRID_ROWS - 1) * density;
      for (let column = 0; column <= GRID_COLUMNS; column += 1) {
        const x = ((2 * column) / GRID_COLUMNS - 1) * aspect * density;
        this._field[node] = (1 - mirror) * land(x, y, phase, moment.bands[0]) + mirror * land(-x, y, phase, moment.bands[0]);
        node += 1;
      }
    }
  }

  /**
   * @param {number} value   the height of the line
   * @param {number} stepX   pixels of a cell
   * @param {number} stepY
   */
  _trace(value, stepX, stepY) {
    const context = this._context;
    for (let row = 0; row < GRID_ROWS; row += 1) {
      for (let column = 0; column < GRID_COLUMNS; column += 1) {
        const node = row * (GRID_COLUMNS + 1) + column;
        const a = this._field[node] - value;
        const b = this._field[node + 1] - value;
        const c = this._field[node + GRID_COLUMNS + 2] - value;
        const d = this._field[node + GRID_COLUMNS + 1] - value;
        if (a < 0 === b < 0 && b < 0 === c < 0 && c < 0 === d < 0) continue;
        // Points where the line crosses the sides, clockwise; two of them, or four at a saddle.
        let started = false;
        for (const [from, to, x, y, dx, dy] of /** @type {number[][]} */ ([[a, b, 0, 0, 1, 0], [b, c, 1, 0, 0, 1],
          [c, d, 1, 1, -1, 0], [d, a, 0, 1, 0, -1]])) {
          if (from < 0 === to < 0) continue;
          const share = from / (from - to);
          const px = (column + x + dx * share) * stepX;
          const py = (row + y + dy * share) * stepY;
          if (started) context.lineTo(px, py);
          else context.moveTo(px, py);
          started = !started;
        }
      }
    }
  }
}
