/** A fragment shader over the whole canvas, for scenes: it gets the moment as uniforms and has noise at hand. */

/** @typedef {import("./stage-picture.js").Moment} Moment */

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;

/** Colours are linear; a scene returns light, which may be brighter than 1. */
const HEAD = `#version 300 es
precision highp float;
uniform vec2 size;
uniform float time, phase, valence, arousal, level, onset;
uniform float bands[6];
uniform vec3 color, warmer, colder;
out vec4 result;

float hash(vec2 p) {
  vec3 q = fract(vec3(p.xyx) * 0.1031);
  q += dot(q, q.yzx + 33.33);
  return fract((q.x + q.y) * q.z);
}
float noise(vec2 p) {
  vec2 cell = floor(p), f = fract(p);
  f = f * f * (3.0 - 2.0 * f);
  return mix(mix(hash(cell), hash(cell + vec2(1, 0)), f.x), mix(hash(cell + vec2(0, 1)), hash(cell + vec2(1, 1)), f.x), f.y);
}
float clouds(vec2 p) {
  return 0.55 * noise(p) + 0.3 * noise(p * 2.03 + 17.0) + 0.15 * noise(p * 4.1 + 41.0);
}
`;

/** `light(p)` gets the place, y from -1 (bottom) to 1 and x likewise, wider by the aspect of the picture. */
const TAIL = `
void main() {
  vec2 p = (2.0 * gl_FragCoord.xy - size) / size.y;
  vec3 shown = sqrt(1.0 - exp(-max(light(p), 0.0)));
  result = vec4(shown + (hash(gl_FragCoord.xy + fract(time) * 61.0) - 0.5) / 255.0, 1.0);
}`;

/**
 * @param {ArrayLike<number>} color sRGB bytes
 * @returns {number[]} about linear, 0 to 1
 */
export function toLight(color) {
  return Array.from(color, (byte) => (byte / 255) ** 2);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @returns {WebGLProgram}
 */
export function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error("WebGL2 is lost");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "no shader");
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made) ?? "no program");
  return made;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {WebGL2RenderingContext}
 */
export function webglContext(canvas) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
  if (!gl) throw new Error("this browser has no WebGL2");
  return gl;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {boolean} [webgl]  whether there is a graphics processor; without one, the canvas lies in plain memory
 * @returns {CanvasRenderingContext2D}
 */
export function flatContext(canvas, webgl = false) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: !webgl });
  if (!context) throw new Error("this browser gives no canvas to draw on");
  return context;
}

class Shader {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {string} source  GLSL with a function `vec3 light(vec2 p)`
   */
  constructor(canvas, source) {
    this._gl = webglContext(canvas);
    this._program = program(this._gl, VERTEX, HEAD + source + TAIL);
    /** @type {Map<string, WebGLUniformLocation|null>} */
    this._places = new Map();
  }

  /** @param {string} name */
  _place(name) {
    let place = this._places.get(name);
    if (place === undefined) {
      place = this._gl.getUniformLocation(this._program, name);
      this._places.set(name, place);
    }
    return place;
  }

  /**
   * @param {Moment} moment
   * @param {import("./stage-picture.js").Means["palette"]} palette
   * @param {number} phase  the scene's own time: it runs as fast as the music moves
   */
  draw(moment, palette, phase) {
    const gl = this._gl;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.useProgram(this._program);
    gl.uniform2f(this._place("size"), width, height);
    const numbers = { ...moment, phase };
    for (const name of /** @type {const} */ (["time", "phase", "valence", "arousal", "level", "onset"])) {
      gl.uniform1f(this._place(name), numbers[name]);
    }
    gl.uniform1fv(this._place("bands"), Array.from(moment.bands));
    for (const [name, color] of Object.entries(neighbours(moment, palette))) {
      gl.uniform3fv(this._place(name), toLight(color));
    }
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** @typedef {{draw: (moment: Moment, phase: number) => void}} PhaseDrawing */

/**
 * A scene of one shader, and a simpler drawing where there is no WebGL2.
 * @param {import("./stage-picture.js").Means} means
 * @param {string} light                GLSL with a function `vec3 light(vec2 p)`
 * @param {[slowest: number, more: number]} pace  phase in a second at the least arousal, -1, and more for each 1 above it
 * @param {(means: import("./stage-picture.js").Means) => PhaseDrawing} makeFlat  makes the simpler drawing
 * @returns {import("./stage-picture.js").Scene}
 */
export function shaderScene(means, light, [slowest, more], makeFlat) {
  const { canvas, webgl, palette } = means;
  let phase = 0;
  /** @type {PhaseDrawing} */
  let drawing;
  if (webgl) {
    const shader = new Shader(canvas, light);
    drawing = { draw: (moment, now) => shader.draw(moment, palette, now) };
  } else {
    drawing = makeFlat(means);
  }
  return {
    draw(moment, seconds) {
      phase += seconds * (slowest + more * (1 + moment.arousal));
      drawing.draw(moment, phase);
    },
  };
}

/**
 * The colour of the moment, and those of brighter and darker moods nearby.
 * @param {Moment} moment
 * @param {import("./stage-picture.js").Means["palette"]} palette
 */
export function neighbours({ valence, arousal, color }, palette) {
  return { color, warmer: palette(valence + 0.5, arousal + 0.25), colder: palette(valence - 0.5, arousal - 0.35) };
}

const PROBE = `vec3 light(vec2 p) {
  return vec3(clouds(p * 3.0), clouds(p * 4.0 + 7.0), clouds(p * 5.0 + 9.0) + clouds(p * 2.0));
}`;
const PROBE_SIZE = [640, 360];
/** A frame of the probe must not take longer: WebGL2 without a graphics processor is slower than a plain canvas. */
const PROBE_MS = 5;

/** @returns {boolean} whether WebGL2 is there and quick, by the time of a few small frames */
export function isWebglQuick() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = PROBE_SIZE;
  try {
    const shader = new Shader(canvas, PROBE);
    const gl = webglContext(canvas);
    const pixel = new Uint8Array(4);
    const moment = { time: 0, valence: 0, arousal: 0, fast: null, level: 0, bands: new Float32Array(6), onset: 0,
      color: /** @type {[number, number, number]} */ ([0, 0, 0]), mood: "", state: "", change: false };
    let best = Infinity;
    for (let k = 0; k < 5 && best > PROBE_MS; k += 1) {
      const startedAt = performance.now();
      shader.draw(moment, () => [0, 0, 0], k);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      best = Math.min(best, performance.now() - startedAt);
    }
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return best <= PROBE_MS;
  } catch {
    return false;
  }
}
