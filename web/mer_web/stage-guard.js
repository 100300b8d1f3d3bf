/**
 * Keeps the picture of stage mode below three flashes a second, whatever a scene draws (WCAG 2.3.1).
 *
 * A flash is a pair of opposing changes of relative luminance by a tenth or more, or of saturated red, over a quarter
 * of any field of 10 degrees. The guard is stricter: smaller changes over a smaller part of a smaller field count,
 * bright pairs and unsaturated reds too. It sees a small copy of each frame before it is shown, and answers how much of
 * the frame may be blended into the shown picture, so that no field has a change too many.
 *
 * The copy has two halves, one below the other: the mean of each cell, and one point of it. In the means alone, a
 * checkerboard whose squares change places would be grey, and still.
 */

/** Size of a half of the small copy, in cells. */
export const COLUMNS = 48;
export const ROWS = 27;
/** Points of a cell in a row and in a column: smaller squares than those are too fine to flash (0.1 degrees). */
export const POINTS = 4;
export const COPY_ROWS = 2 * ROWS;
const CELLS = COLUMNS * COPY_ROWS;

/** A field: a quarter of the width, a third of the height. */
const FIELD_COLUMNS = 12;
const FIELD_ROWS = 9;

/** Share of the cells of a field that have to change; WCAG has 0.25. */
const FIELD_SHARE = 0.2;
/** Changes that count, of relative luminance and of R − G − B (linear); WCAG has 0.1 and 20/320 of saturated reds. */
const STEPS = [0.08, 0.05];
/** Changes of a field, up and down, within a window: three flashes. */
const MAX_CHANGES = 6;
const WINDOW_MS = 1100;
/** Cells that change within half a period of three flashes a second change together. */
const TOGETHER_MS = 170;

/** How much of a frame may be blended in, in the order of trial. A smaller part would be lost in rounding to bytes. */
const PARTS = [1, 0.5, 0.25, 0.12];

const LINEAR = Float32Array.from({ length: 256 }, (_, byte) => {
  const part = byte / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
});

/** Cells of each field, in either half. @type {Uint16Array[]} */
const FIELDS = [];
for (const half of [0, ROWS]) {
  for (let row = half; row + FIELD_ROWS <= half + ROWS; row += 3) {
    for (let column = 0; column + FIELD_COLUMNS <= COLUMNS; column += 4) {
      FIELDS.push(Uint16Array.from({ length: FIELD_COLUMNS * FIELD_ROWS }, (_, k) =>
        (row + Math.floor(k / FIELD_COLUMNS)) * COLUMNS + column + (k % FIELD_COLUMNS)));
    }
  }
}
const FIELD_CELLS = FIELD_SHARE * FIELD_COLUMNS * FIELD_ROWS;

/** One signal of all cells: luminance, or red. */
class Signal {
  /** @param {number} step smallest change that counts */
  constructor(step) {
    this._step = step;
    /** Of the frame on trial. */
    this.value = new Float32Array(CELLS);
    /** Extremes since the last change of each cell. */
    this._low = new Float32Array(CELLS);
    this._high = new Float32Array(CELLS);
    /** Direction of each cell's last change: 1 up, -1 down, 0 before one. */
    this._direction = new Int8Array(CELLS);
    this._changedAt = new Float64Array(CELLS).fill(-Infinity);
    /** Direction of each field's last change. */
    this._fields = new Int8Array(FIELDS.length);
    /** Changes of the frame on trial: 1 up, -1 down, 0 none. */
    this.change = new Int8Array(CELLS);
    /** The same, with the recent changes that belong to it. */
    this._recent = new Int8Array(CELLS);
  }

  /** @param {number} now milliseconds */
  compare(now) {
    for (let cell = 0; cell < CELLS; cell += 1) {
      const value = this.value[cell];
      const direction = this._direction[cell];
      let change = 0;
      if (direction !== 1 && value - this._low[cell] >= this._step) change = 1;
      else if (direction !== -1 && this._high[cell] - value >= this._step) change = -1;
      this.change[cell] = change;
      this._recent[cell] = change || (now - this._changedAt[cell] < TOGETHER_MS ? direction : 0);
    }
  }

  /**
   * @param {number} field
   * @returns {number} 1 or -1 where the frame changes the field, else 0
   */
  fieldChange(field) {
    let up = 0;
    let down = 0;
    for (const cell of FIELDS[field]) {
      const recent = this._recent[cell];
      if (recent > 0) up += 1;
      else if (recent < 0) down += 1;
    }
    if (up >= FIELD_CELLS && up > down && this._fields[field] !== 1) return 1;
    if (down >= FIELD_CELLS && down > up && this._fields[field] !== -1) return -1;
    return 0;
  }

  /**
   * @param {number} now        milliseconds
   * @param {boolean} anyChange  whether any cell changes
   */
  accept(now, anyChange) {
    for (let field = 0; anyChange && field < FIELDS.length; field += 1) {
      this._fields[field] = this.fieldChange(field) || this._fields[field];
    }
    for (let cell = 0; cell < CELLS; cell += 1) {
      const value = this.value[cell];
      const change = this.change[cell];
      if (change) {
        this._direction[cell] = change;
        this._changedAt[cell] = now;
        this._low[cell] = this._high[cell] = value;
      } else if (value < this._low[cell]) {
        this._low[cell] = value;
      } else if (value > this._high[cell]) {
        this._high[cell] = value;
      }
    }
  }
}

export class FlashGuard {
  constructor() {
    /** The shown picture: sRGB of each cell, 0 to 255. */
    this._shown = new Float32Array(CELLS * 3);
    this._signals = STEPS.map((step) => new Signal(step));
    /** Times of the last changes of each field, oldest first. @type {number[][]} */
    this._fieldTimes = FIELDS.map(() => []);
    /** Times of the last changes of each cell, in a ring. */
    this._cellTimes = new Float64Array(CELLS * MAX_CHANGES).fill(-Infinity);
    this._cellNext = new Uint8Array(CELLS);
    /** When a cell last had a change too many, which a small part of a field may have. */
    this._overAt = new Float64Array(CELLS).fill(-Infinity);
    this._changed = new Uint8Array(CELLS);
  }

  /**
   * Decides on the next frame, and takes it as shown.
   * @param {Uint8ClampedArray} pixels  a small copy: RGBA, COPY_ROWS × COLUMNS
   * @param {number} now                milliseconds
   * @returns {number} how much of the frame to blend into the shown picture, 0 to 1
   */
  admit(pixels, now) {
    for (const part of PARTS) {
      const anyChange = this._try(pixels, part, now);
      if (anyChange && !this._isSafe(now)) continue;
      this._accept(pixels, part, now, anyChange);
      return part;
    }
    return 0;
  }

  /**
   * Takes a darker picture as shown: darkness by hand waits for nothing, but counts.
   * @param {number} part  how much of black was blended in, 0 to 1
   * @param {number} now   milliseconds
   */
  darken(part, now) {
    this._accept(BLACK, part, now, this._try(BLACK, part, now));
  }

  /**
   * @param {Uint8ClampedArray} pixels
   * @param {number} part
   * @param {number} now
   * @returns {boolean} whether any cell changes
   */
  _try(pixels, part, now) {
    const [luminance, red] = this._signals;
    const shown = this._shown;
    for (let cell = 0; cell < CELLS; cell += 1) {
      const k = cell * 3;
      const p = cell * 4;
      const r = LINEAR[Math.round(shown[k] + part * (pixels[p] - shown[k]))];
      const g = LINEAR[Math.round(shown[k + 1] + part * (pixels[p + 1] - shown[k + 1]))];
      const b = LINEAR[Math.round(shown[k + 2] + part * (pixels[p + 2] - shown[k + 2]))];
      luminance.value[cell] = 0.2126 * r + 0.7152 * g + 0.0722 * b;
      red.value[cell] = Math.max(0, r - g - b);
    }
    for (const signal of this._signals) signal.compare(now);
    let any = false;
    for (let cell = 0; cell < CELLS; cell += 1) {
      this._changed[cell] = luminance.change[cell] || red.change[cell] ? 1 : 0;
      if (this._changed[cell]) any = true;
    }
    return any;
  }

  /**
   * @param {number} cell
   * @param {number} now
   * @returns {boolean} whether the frame on trial is one change too many for this cell
   */
  _isOver(cell, now) {
    // The slot of the next change has the time of the oldest one.
    return this._changed[cell] === 1 && now - this._cellTimes[cell * MAX_CHANGES + this._cellNext[cell]] < WINDOW_MS;
  }

  /**
   * @param {number} now
   * @returns {boolean} whether no field has a change too many in the frame on trial
   */
  _isSafe(now) {
    return FIELDS.every((cells, field) => {
      let over = 0;
      for (const cell of cells) if (now - this._overAt[cell] < TOGETHER_MS || this._isOver(cell, now)) over += 1;
      if (over >= FIELD_CELLS) return false;
      const times = this._fieldTimes[field];
      return times.length < MAX_CHANGES || now - times[0] >= WINDOW_MS
        || this._signals.every((signal) => signal.fieldChange(field) === 0);
    });
  }

  /**
   * @param {Uint8ClampedArray} pixels
   * @param {number} part
   * @param {number} now
   * @param {boolean} anyChange
   */
  _accept(pixels, part, now, anyChange) {
    if (anyChange) this._count(now);
    for (const signal of this._signals) signal.accept(now, anyChange);
    for (let cell = 0; cell < CELLS; cell += 1) {
      for (let k = 0; k < 3; k += 1) {
        const shown = this._shown[cell * 3 + k];
        this._shown[cell * 3 + k] = Math.round(shown + part * (pixels[cell * 4 + k] - shown));
      }
    }
  }

  /** @param {number} now */
  _count(now) {
    for (let field = 0; field < FIELDS.length; field += 1) {
      if (this._signals.every((signal) => signal.fieldChange(field) === 0)) continue;
      const times = this._fieldTimes[field];
      times.push(now);
      if (times.length > MAX_CHANGES) times.shift();
    }
    for (let cell = 0; cell < CELLS; cell += 1) {
      if (!this._changed[cell]) continue;
      if (this._isOver(cell, now)) this._overAt[cell] = now;
      this._cellTimes[cell * MAX_CHANGES + this._cellNext[cell]] = now;
      this._cellNext[cell] = (this._cellNext[cell] + 1) % MAX_CHANGES;
    }
  }
}

/** A copy of a black frame. */
const BLACK = new Uint8ClampedArray(CELLS * 4);
