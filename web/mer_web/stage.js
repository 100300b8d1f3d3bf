/** Full screen as a stage: after a while without a hand on anything the controls fade and the pointer goes. */

/** Seconds without pointer or key. */
export const IDLE_S = 3;

const SIGNS = /** @type {const} */ (["pointermove", "pointerdown", "keydown", "wheel", "touchstart", "focusin"]);

export class Stage {
  /**
   * @param {HTMLElement} root     marked with `data-idle` while the controls are gone
   * @param {() => boolean} quiet  whether there is nothing that must be seen, such as a lost connection
   */
  constructor(root, quiet) {
    this._root = root;
    this._quiet = quiet;
    this._touched = -Infinity;
    const wake = () => {
      this._touched = performance.now();
      delete root.dataset.idle;
    };
    for (const sign of SIGNS) addEventListener(sign, wake, { passive: true });
    document.addEventListener("fullscreenchange", wake);
  }

  /** @param {number} now milliseconds */
  tick(now) {
    const idle = document.fullscreenElement !== null && this._quiet() && now - this._touched > IDLE_S * 1000;
    if (idle) this._root.dataset.idle = "";
    else delete this._root.dataset.idle;
  }
}
