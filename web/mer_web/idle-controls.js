/** Hides the controls and the pointer in full screen after a few seconds without input. */

/** Seconds without pointer or key input. */
const IDLE_S = 3;

const ACTIVITY_EVENTS = /** @type {const} */ (["pointermove", "pointerdown", "keydown", "wheel", "touchstart", "focusin"]);

export class IdleControls {
  /**
   * @param {HTMLElement} root       has `data-idle` while the controls are hidden
   * @param {() => boolean} mayHide  false while something must stay visible, such as a lost connection
   */
  constructor(root, mayHide) {
    this._root = root;
    this._mayHide = mayHide;
    this._activeAt = -Infinity;
    const onActivity = () => {
      this._activeAt = performance.now();
      delete root.dataset.idle;
    };
    for (const type of ACTIVITY_EVENTS) addEventListener(type, onActivity, { passive: true });
    document.addEventListener("fullscreenchange", onActivity);
  }

  /** @param {number} now milliseconds */
  tick(now) {
    const idle = document.fullscreenElement !== null && this._mayHide() && now - this._activeAt > IDLE_S * 1000;
    if (idle) this._root.dataset.idle = "";
    else delete this._root.dataset.idle;
  }
}
