/** Particles in a stream. A pleasant mood turns them round a common middle, an unpleasant one scatters them downwards. */

import { flatContext, neighbours, program, toLight, webglContext } from "../stage-shader.js";

export const label = "Particles";

/** With WebGL2, and without. */
const COUNTS = [3500, 640];
/** Places of the tail of a particle. */
const TAIL = 10;
/** Seconds of the way that the tail shows. */
const TAIL_S = 0.42;

/** Numbers of a particle: x, y (-1 to 1, wider by the aspect), speed in both, depth (0 far, 1 near), kind (0 to 1). */
const SIZE = 6;

const VERTEX = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in vec2 speed;
layout(location = 2) in vec2 kind;
uniform vec2 size;
uniform float level, onset, tail;
uniform vec3 color, warmer, colder;
out vec3 tint;
void main() {
  float age = float(gl_InstanceID) / ${TAIL}.0;
  vec2 p = place - speed * age * tail;
  gl_Position = vec4(p.x * size.y / size.x, p.y, 0.0, 1.0);
  float near = kind.x * kind.x;
  float blur = kind.y > 0.985 ? 5.0 : 1.0;
  gl_PointSize = blur * size.y / 1080.0 * (3.0 + (6.0 + 16.0 * level) * near) * (1.0 - 0.65 * age);
  vec3 hue = kind.y < 0.4 ? mix(colder, color, kind.y * 2.5) : mix(color, warmer, (kind.y - 0.4) * 1.6);
  tint = 1.5 * hue * (0.12 + 0.9 * level + 0.7 * onset * near) * (0.25 + near) * pow(1.0 - age, 2.0) / blur;
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 tint;
out vec4 result;
void main() {
  vec2 from = 2.0 * gl_PointCoord - 1.0;
  float light = max(0.0, 1.0 - dot(from, from));
  result = vec4(sqrt(tint) * light * light, 1.0);
}`;

/** @param {import("../stage-picture.js").Means} means */
export function create({ canvas, webgl, palette }) {
  const swarm = new Swarm(webgl ? COUNTS[0] : COUNTS[1]);
  const drawing = webgl ? new Points(canvas, swarm) : new Strokes(canvas, swarm);
  return {
    /** @type {import("../stage-picture.js").Scene["draw"]} */
    draw(moment, seconds) {
      swarm.move(moment, seconds, canvas.width / canvas.height);
      drawing.draw(moment, neighbours(moment, palette));
    },
  };
}

class Swarm {
  /** @param {number} count */
  constructor(count) {
    this.count = count;
    this.data = new Float32Array(count * SIZE);
    for (let k = 0; k < this.data.length; k += SIZE) {
      this.data[k] = 4 * Math.random() - 2;
      this.data[k + 1] = 2 * Math.random() - 1;
      this.data[k + 4] = Math.random();
      this.data[k + 5] = Math.random();
    }
    this._phase = 0;
    this._onset = 0;
  }

  /**
   * @param {import("../stage-picture.js").Moment} moment
   * @param {number} seconds
   * @param {number} aspect
   */
  move({ valence, arousal, level, onset }, seconds, aspect) {
    const energy = 0.5 + 0.5 * arousal;
    const speed = 0.06 + 0.3 * energy + 0.3 * level;
    const order = Math.max(0, Math.min(1, 0.5 + valence));
    // An onset pushes outwards, once.
    const push = Math.max(0, onset - this._onset) * 0.2;
    this._onset = onset;
    this._phase += seconds * (0.2 + 0.5 * energy);
    const follow = 1 - Math.exp(-seconds * 2.5);
    const { data } = this;
    const phase = this._phase;
    for (let k = 0; k < data.length; k += SIZE) {
      const x = data[k];
      const y = data[k + 1];
      const radius = Math.hypot(x, y) + 0.05;
      const angle = 2.2 * Math.sin(1.7 * x + phase) + 2.2 * Math.cos(2.3 * y - 0.7 * phase + 1.3 * x);
      // Each has a way of its own round the middle.
      const inward = 0.35 * (radius - 0.3 - 0.9 * data[k + 5]);
      const turnX = -y / radius - (inward * x) / radius;
      const turnY = x / radius - (inward * y) / radius;
      const pace = speed * (0.35 + data[k + 4]);
      const freeX = Math.cos(angle);
      const freeY = Math.sin(angle) - 0.7 * (1 - order);
      data[k + 2] += (pace * (freeX + order * (1.2 * turnX - 0.6 * freeX)) - data[k + 2]) * follow + (push * x) / radius;
      data[k + 3] += (pace * (freeY + order * (1.2 * turnY - 0.6 * freeY)) - data[k + 3]) * follow + (push * y) / radius;
      data[k] = wrap(x + data[k + 2] * seconds, aspect + 0.15);
      data[k + 1] = wrap(y + data[k + 3] * seconds, 1.15);
    }
  }
}

/**
 * @param {number} value
 * @param {number} limit
 * @returns {number} the value, from the other side beyond the limit
 */
function wrap(value, limit) {
  if (value > limit) return Math.max(-limit, value - 2 * limit);
  return value < -limit ? Math.min(limit, value + 2 * limit) : value;
}

/** With WebGL2: points of light with a tail. */
class Points {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Swarm} swarm
   */
  constructor(canvas, swarm) {
    const gl = webglContext(canvas);
    this._gl = gl;
    this._swarm = swarm;
    this._program = program(gl, VERTEX, FRAGMENT);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, swarm.data, gl.DYNAMIC_DRAW);
    for (let k = 0; k < 3; k += 1) {
      gl.enableVertexAttribArray(k);
      gl.vertexAttribPointer(k, 2, gl.FLOAT, false, SIZE * 4, k * 8);
    }
    gl.useProgram(this._program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
  }

  /**
   * @param {import("../stage-picture.js").Moment} moment
   * @param {Record<string, import("../stage-picture.js").Color>} colors
   */
  draw({ level, onset, arousal }, colors) {
    const gl = this._gl;
    const { width, height } = gl.canvas;
    const place = (/** @type {string} */ name) => gl.getUniformLocation(this._program, name);
    gl.viewport(0, 0, width, height);
    const ground = toLight(colors.colder).map((part) => Math.sqrt(part * 0.012 * (1 + 2 * level)));
    gl.clearColor(ground[0], ground[1], ground[2], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, this._swarm.data);
    gl.uniform2f(place("size"), width, height);
    gl.uniform1f(place("level"), level);
    gl.uniform1f(place("onset"), onset);
    gl.uniform1f(place("tail"), TAIL_S);
    for (const [name, color] of Object.entries(colors)) gl.uniform3fv(place(name), toLight(color));
    const share = 0.35 + 0.65 * (0.5 + 0.5 * arousal);
    // An instance for each place of the tails: a few large ones, where one for each particle would be thousands of small ones.
    gl.drawArraysInstanced(gl.POINTS, 0, Math.round(this._swarm.count * share), TAIL);
  }
}

/** Without WebGL2: strokes along the way of each particle. */
class Strokes {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Swarm} swarm
   */
  constructor(canvas, swarm) {
    this._context = flatContext(canvas);
    this._swarm = swarm;
  }

  /**
   * @param {import("../stage-picture.js").Moment} moment
   * @param {Record<string, import("../stage-picture.js").Color>} colors
   */
  draw({ level, onset, arousal }, { color, warmer, colder }) {
    const context = this._context;
    const { width, height } = context.canvas;
    const unit = height / 2;
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
    context.fillStyle = `rgb(${colder.map((part) => Math.round(part * (0.07 + 0.05 * level)))})`;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "lighter";
    context.lineCap = "round";
    const { data } = this._swarm;
    const end = Math.round(this._swarm.count * (0.4 + 0.3 * (1 + arousal))) * SIZE;
    // Far ones thin and dim, near ones thick and bright; a long faint stroke below a short one is the tail.
    for (let group = 0; group < 3; group += 1) {
      context.strokeStyle = `rgb(${[colder, color, warmer][group]})`;
      const shine = Math.min(1, (0.3 + 0.28 * group) * (0.35 + 0.75 * level + 0.25 * onset));
      const thick = unit * (0.004 + (0.004 + 0.009 * level) * group);
      for (const [way, alpha] of [[TAIL_S, 0.3], [TAIL_S / 3, 0.7]]) {
        context.globalAlpha = shine * alpha;
        context.lineWidth = thick;
        context.beginPath();
        for (let k = 0; k < end; k += SIZE) {
          if (Math.min(2, Math.floor(data[k + 4] * 3)) !== group) continue;
          const x = width / 2 + unit * data[k];
          const y = height / 2 - unit * data[k + 1];
          context.moveTo(x, y);
          context.lineTo(x - unit * data[k + 2] * way, y + unit * data[k + 3] * way);
        }
        context.stroke();
      }
    }
  }
}
