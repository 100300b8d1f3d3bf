/**
 * Colour of a point of the plane: bilinear in OKLab between four corners, so that equal steps look equal.
 *
 * Arousal maps to lightness, valence to the blue-yellow axis. Both remain visible with red-green colour blindness,
 * lightness with any. Colour is never the only cue on the page: position, word and number show the same.
 */

/**
 * @typedef {[number, number, number]} Triple
 * @typedef {"dark"|"light"} Theme
 * @typedef {{tense: Triple, joyful: Triple, sad: Triple, calm: Triple}} Corners  each L, C, hue in degrees
 */

/** @type {Record<Theme, Corners>} */
const CORNERS = {
  dark: {
    tense: [0.715, 0.18, 335], joyful: [0.87, 0.155, 88],
    sad: [0.52, 0.15, 268], calm: [0.69, 0.12, 160],
  },
  light: {
    tense: [0.57, 0.2, 335], joyful: [0.64, 0.135, 70],
    sad: [0.38, 0.15, 268], calm: [0.5, 0.1, 160],
  },
};

/**
 * @param {Triple} lch lightness, chroma, hue in degrees
 * @returns {Triple} OKLab
 */
function oklchToOklab([lightness, chroma, hue]) {
  const angle = (hue * Math.PI) / 180;
  return [lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)];
}

/**
 * @param {Triple} lab OKLab
 * @returns {Triple} linear sRGB, outside [0, 1] where the colour is out of gamut
 */
export function oklabToLinear([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

/**
 * @param {Triple} lab OKLab
 * @returns {Triple} linear sRGB within [0, 1]; out of gamut colours lose chroma, not lightness or hue
 */
export function toGamut(lab) {
  const fits = (/** @type {Triple} */ rgb) => rgb.every((part) => part >= -1e-4 && part <= 1.0001);
  let rgb = oklabToLinear(lab);
  if (!fits(rgb)) {
    let low = 0;
    let high = 1;
    for (let k = 0; k < 12; k += 1) {
      const share = (low + high) / 2;
      if (fits(oklabToLinear([lab[0], lab[1] * share, lab[2] * share]))) low = share;
      else high = share;
    }
    rgb = oklabToLinear([lab[0], lab[1] * low, lab[2] * low]);
  }
  return /** @type {Triple} */ (rgb.map((part) => Math.max(0, Math.min(1, part))));
}

/**
 * @param {Triple} linear linear sRGB within [0, 1]
 * @returns {Triple} sRGB bytes
 */
function toBytes(linear) {
  return /** @type {Triple} */ (linear.map((part) => Math.round(
    255 * (part <= 0.0031308 ? 12.92 * part : 1.055 * part ** (1 / 2.4) - 0.055))));
}

/**
 * Stretches the middle of the axis, where most music lies, so that colour changes fastest there. Monotonic.
 * @param {number} value
 * @returns {number} in [-1, 1]
 */
function spread(value) {
  const clamped = Math.max(-1, Math.min(1, value));
  return clamped * (1.9 - 0.9 * Math.abs(clamped));
}

/**
 * @param {number} valence in [-1, 1]
 * @param {number} arousal in [-1, 1]
 * @param {Theme} theme
 * @returns {Triple} OKLab
 */
export function planeOklab(valence, arousal, theme) {
  const x = (spread(valence) + 1) / 2;
  const y = (spread(arousal) + 1) / 2;
  const corners = CORNERS[theme];
  const [tense, joyful, sad, calm] = [corners.tense, corners.joyful, corners.sad, corners.calm].map(oklchToOklab);
  const mix = (/** @type {number} */ k) =>
    y * ((1 - x) * tense[k] + x * joyful[k]) + (1 - y) * ((1 - x) * sad[k] + x * calm[k]);
  return [mix(0), mix(1), mix(2)];
}

/** Steps of the colour table on each axis. */
const STEPS = 48;

/** The colours of one theme in a table, for fast drawing. */
export class Palette {
  /** @param {Theme} theme */
  constructor(theme) {
    this.theme = theme;
    /** @type {Triple[]} */
    this._bytes = [];
    /** @type {string[]} */
    this._css = [];
    for (let row = 0; row <= STEPS; row += 1) {
      for (let column = 0; column <= STEPS; column += 1) {
        const lab = planeOklab((2 * column) / STEPS - 1, (2 * row) / STEPS - 1, theme);
        const bytes = toBytes(toGamut(lab));
        this._bytes.push(bytes);
        this._css.push(`rgb(${bytes.join(",")})`);
      }
    }
  }

  /**
   * @param {number} valence
   * @param {number} arousal
   * @returns {number}
   */
  _index(valence, arousal) {
    const step = (/** @type {number} */ value) =>
      Math.round(((Math.max(-1, Math.min(1, value || 0)) + 1) / 2) * STEPS);
    return step(arousal) * (STEPS + 1) + step(valence);
  }

  /**
   * @param {number} valence in [-1, 1]
   * @param {number} arousal in [-1, 1]
   * @returns {string} a CSS colour
   */
  css(valence, arousal) {
    return this._css[this._index(valence, arousal)];
  }

  /**
   * @param {number} valence in [-1, 1]
   * @param {number} arousal in [-1, 1]
   * @param {number} alpha
   * @returns {string} a CSS colour
   */
  translucent(valence, arousal, alpha) {
    return `rgba(${this._bytes[this._index(valence, arousal)].join(",")},${alpha.toFixed(3)})`;
  }

  /**
   * @param {number} valence in [-1, 1]
   * @param {number} arousal in [-1, 1]
   * @returns {Triple} sRGB bytes
   */
  bytes(valence, arousal) {
    return this._bytes[this._index(valence, arousal)];
  }

  /**
   * The text colour for a point of the plane: its hue, at a lightness that is readable on the background.
   * @param {number} valence
   * @param {number} arousal
   * @returns {string} a CSS colour
   */
  ink(valence, arousal) {
    return `rgb(${this.inkBytes(valence, arousal).join(",")})`;
  }

  /**
   * @param {number} valence
   * @param {number} arousal
   * @returns {Triple} sRGB bytes
   */
  inkBytes(valence, arousal) {
    const [, a, b] = planeOklab(valence, arousal, this.theme);
    const lightness = this.theme === "dark" ? 0.88 : 0.48;
    const tint = this.theme === "dark" ? 0.9 : 1.3;
    return toBytes(toGamut([lightness, a * tint, b * tint]));
  }
}
