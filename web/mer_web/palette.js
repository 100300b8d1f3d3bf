/**
 * Colour of a point of the plane. The direction from the middle decides the hue and the distance the chroma, which
 * rises quickly from a grey middle: most music lies near it.
 *
 * Valence runs from blue to yellow, which every red-green colour blindness keeps; lightness changes by 0.055 at most.
 * Colour is never the only cue on the page: position, word and number show the same.
 */

/**
 * @typedef {[number, number, number]} Triple
 * @typedef {"dark"|"light"} Theme
 */

/**
 * Lightness of the middle, and the colours at distance 1 (lightness, chroma, hue in degrees), counter-clockwise from
 * positive valence, as the mood words. The straight ways between them stay in gamut.
 * @type {Record<Theme, {middle: number, rim: Triple[]}>}
 */
const COLOURS = {
  dark: {
    middle: 0.76,
    rim: [
      [0.805, 0.165, 107], [0.815, 0.142, 69], [0.786, 0.12, 21], [0.75, 0.18, 347],
      [0.715, 0.18, 313], [0.71, 0.158, 243], [0.705, 0.115, 202], [0.73, 0.18, 153],
    ],
  },
  light: {
    middle: 0.56,
    rim: [
      [0.58, 0.12, 110], [0.61, 0.155, 48], [0.59, 0.18, 18], [0.605, 0.18, 343],
      [0.565, 0.18, 286], [0.53, 0.145, 250], [0.505, 0.085, 215], [0.56, 0.13, 155],
    ],
  },
};

/** The distance from the middle at which the chroma is 0.6 of that of the rim. */
const RISE = 0.2;

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

const RIM = { dark: COLOURS.dark.rim.map(oklchToOklab), light: COLOURS.light.rim.map(oklchToOklab) };

/**
 * @param {number} valence in [-1, 1]; values outside are clipped
 * @param {number} arousal in [-1, 1]
 * @param {Theme} theme
 * @returns {Triple} OKLab
 */
export function planeOklab(valence, arousal, theme) {
  const [x, y] = [valence, arousal].map((value) => Math.max(-1, Math.min(1, value || 0)));
  const eighths = ((Math.atan2(y, x) * 4) / Math.PI + 8) % 8;
  const first = Math.floor(eighths);
  const share = eighths - first;
  const [one, other] = [RIM[theme][first], RIM[theme][(first + 1) % 8]];
  const distance = Math.min(1, Math.hypot(x, y));
  const strength = (distance * (1 + RISE)) / (distance + RISE);
  const rim = one.map((part, k) => part + share * (other[k] - part));
  const { middle } = COLOURS[theme];
  return [middle + strength * (rim[0] - middle), strength * rim[1], strength * rim[2]];
}

/**
 * @param {number} valence
 * @param {number} arousal
 * @param {Theme} theme
 * @returns {Triple} sRGB bytes, not rounded to the steps of a table
 */
export function planeBytes(valence, arousal, theme) {
  return toBytes(toGamut(planeOklab(valence, arousal, theme)));
}

/** Steps of the colour table on each axis. */
const STEPS = 96;

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
        const bytes = planeBytes((2 * column) / STEPS - 1, (2 * row) / STEPS - 1, theme);
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
