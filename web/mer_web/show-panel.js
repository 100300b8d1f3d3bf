/** The outputs of the show and their controls: mute, freeze, black-out, and values set by hand. */

import { element, setData, setText } from "./dom.js";
import { controlMessage } from "./protocol.js";
import { counted } from "./text.js";

/** @typedef {import("./protocol.js").ControlChange} ControlChange */

const SWITCHES = /** @type {const} */ (["mute", "freeze", "blackout"]);
const SWITCH_LABELS = { mute: "mute", freeze: "freeze", blackout: "black-out" };
const VALUES = /** @type {const} */ (["valence", "arousal", "level", "dimmer"]);
/** The line names at most so many outputs that fail. */
const LISTED = 3;
/** A slider sends at most so often, in milliseconds. */
const SEND_EVERY_MS = 60;

/**
 * @param {import("./protocol.js").ShowState} show
 * @returns {{text: string, trouble: boolean}} one line on the outputs and on what is set by hand
 */
export function showLine({ control, outputs, scenes }) {
  const ok = outputs.filter((each) => each.health === "ok").length;
  const failing = outputs.filter((each) => each.health === "failing");
  const parts = outputs.length ? [`${ok} of ${counted(outputs.length, "output")} ok`] : [];
  if (failing.length) {
    const rest = failing.length - LISTED;
    const names = failing.slice(0, LISTED).map((each) => each.name).join(", ");
    parts.push(`${names}${rest > 0 ? ` and ${rest} more` : ""} failing`);
  }
  for (const name of SWITCHES) {
    if (control[name]) parts.push(`${SWITCH_LABELS[name]} is on`);
    else if (outputs.some((each) => each.control[name])) parts.push(`${SWITCH_LABELS[name]} of some outputs is on`);
  }
  const byHand = VALUES.filter((name) => control.override[name] !== undefined);
  if (byHand.length) parts.push(`${byHand.join(", ")} by hand`);
  if (scenes.length) parts.push(`scene ${scenes.find((each) => each.active)?.name ?? "none"}`);
  return { text: parts.join(" · "), trouble: failing.length > 0 };
}

export class ShowPanel {
  /** @param {(message: string) => boolean} send returns false while there is no connection */
  constructor(send) {
    this._send = send;
    this._panel = element("show", HTMLDetailsElement);
    this._line = element("show-line", HTMLElement);
    this._list = element("show-outputs", HTMLElement);
    this._sceneList = element("show-scenes", HTMLElement);
    this._hint = element("show-rights", HTMLElement);
    this._allowed = false;
    /** @type {Map<string, HTMLElement>} */
    this._rows = new Map();
    /** @type {Map<string, HTMLInputElement>} */
    this._sliders = new Map();
    this._held = "";
    this._sceneNames = "";
    this._sentAt = -Infinity;
    this._buttons = this._addSwitches(element("show-all", HTMLElement), "");
    this._addSliders(element("show-values", HTMLElement));
  }

  /** @param {boolean} allowed whether this page may change the show */
  setAllowed(allowed) {
    this._allowed = allowed;
    this._hint.hidden = allowed;
    for (const control of this._panel.querySelectorAll("button, input")) {
      /** @type {HTMLButtonElement|HTMLInputElement} */ (control).disabled = !allowed;
    }
  }

  /** @param {import("./protocol.js").ShowState|undefined} show absent if the server has no outputs */
  update(show) {
    this._panel.hidden = show === undefined;
    if (show === undefined) return;
    const { text, trouble } = showLine(show);
    setText(this._line, text);
    setData(this._panel, "trouble", trouble ? "yes" : "no");
    this._press(this._buttons, show.control);
    const names = new Set(show.outputs.map((each) => each.name));
    for (const [name, row] of this._rows) {
      if (names.has(name)) continue;
      row.remove();
      this._rows.delete(name);
    }
    for (const output of show.outputs) this._updateRow(output);
    this._updateScenes(show.scenes);
    for (const [name, slider] of this._sliders) this._updateSlider(name, slider, show.control.override[name]);
  }

  /** @param {import("./protocol.js").OutputState} output */
  _updateRow(output) {
    let row = this._rows.get(output.name);
    if (!row) {
      row = document.createElement("li");
      row.innerHTML = "<span class=\"lamp\" aria-hidden=\"true\"></span><span class=\"show-name\"></span>"
        + "<span class=\"show-health\"></span><span class=\"show-switches\" role=\"group\"></span>";
      setText(/** @type {Element} */ (row.querySelector(".show-name")), output.name);
      const switches = /** @type {HTMLElement} */ (row.querySelector(".show-switches"));
      switches.setAttribute("aria-label", output.name);
      this._addSwitches(switches, output.name);
      this._list.append(row);
      this._rows.set(output.name, row);
      this.setAllowed(this._allowed);
    }
    setData(row, "health", output.health);
    const parts = [output.health, `${output.sent} sent`];
    if (output.dropped) parts.push(`${output.dropped} dropped`);
    if (output.answer) parts.push(output.answer);
    setText(/** @type {Element} */ (row.querySelector(".show-health")), parts.join(" · "));
    this._press([...row.querySelectorAll("button")], output.control);
  }

  /** @param {import("./protocol.js").SceneState[]} scenes */
  _updateScenes(scenes) {
    if (scenes.map((each) => each.name).join("\n") !== this._sceneNames) {
      this._sceneNames = scenes.map((each) => each.name).join("\n");
      this._sceneList.replaceChildren(...scenes.map(({ name }) => {
        const row = document.createElement("li");
        row.innerHTML = "<button type=\"button\" class=\"choice\"></button><span class=\"show-health\"></span>";
        const button = /** @type {HTMLButtonElement} */ (row.querySelector("button"));
        button.textContent = name;
        button.title = `Start ${name} now`;
        button.addEventListener("click", () => this._change({ scene: name }));
        return row;
      }));
      this._sceneList.hidden = scenes.length === 0;
      this.setAllowed(this._allowed);
    }
    scenes.forEach(({ active, reason }, index) => {
      const row = this._sceneList.children[index];
      /** @type {Element} */ (row.querySelector("button")).setAttribute("aria-pressed", String(active));
      setText(/** @type {Element} */ (row.querySelector("span")), reason);
    });
  }

  /**
   * @param {string} name
   * @param {HTMLInputElement} slider
   * @param {number|undefined} value
   */
  _updateSlider(name, slider, value) {
    const row = /** @type {HTMLElement} */ (slider.closest("li"));
    setData(row, "hand", value === undefined ? "no" : "yes");
    if (name !== this._held && value !== undefined) slider.value = String(value);
    setText(/** @type {Element} */ (row.querySelector("output")), value === undefined ? "music" : value.toFixed(2));
  }

  /**
   * @param {HTMLButtonElement[]} buttons
   * @param {import("./protocol.js").ControlState} control
   */
  _press(buttons, control) {
    for (const button of buttons) {
      const name = /** @type {typeof SWITCHES[number]} */ (button.dataset.control);
      button.setAttribute("aria-pressed", String(control[name]));
    }
  }

  /**
   * @param {HTMLElement} parent
   * @param {string} output name; empty for all
   * @returns {HTMLButtonElement[]}
   */
  _addSwitches(parent, output) {
    return SWITCHES.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "choice";
      button.dataset.control = name;
      button.setAttribute("aria-pressed", "false");
      button.textContent = SWITCH_LABELS[name];
      button.addEventListener("click", () => {
        this._change({ output, [name]: button.getAttribute("aria-pressed") !== "true" });
      });
      parent.append(button);
      return button;
    });
  }

  /** @param {HTMLElement} parent */
  _addSliders(parent) {
    for (const name of VALUES) {
      const row = document.createElement("li");
      row.innerHTML = "<label><span></span><input type=\"range\" min=\"0\" max=\"1\" step=\"0.01\" value=\"0.5\"></label>"
        + "<output>music</output><button type=\"button\" class=\"plain\">give back</button>";
      setText(/** @type {Element} */ (row.querySelector("span")), name);
      const slider = /** @type {HTMLInputElement} */ (row.querySelector("input"));
      slider.addEventListener("input", () => {
        this._held = name;
        // The last value comes with `change`.
        if (performance.now() - this._sentAt < SEND_EVERY_MS) return;
        this._change({ override: { [name]: Number(slider.value) } });
      });
      slider.addEventListener("change", () => {
        this._held = "";
        this._change({ override: { [name]: Number(slider.value) } });
      });
      const back = /** @type {HTMLButtonElement} */ (row.querySelector("button"));
      back.setAttribute("aria-label", `give ${name} back to the music`);
      back.addEventListener("click", () => this._change({ override: { [name]: null } }));
      this._sliders.set(name, slider);
      parent.append(row);
    }
  }

  /** @param {ControlChange} change */
  _change(change) {
    this._sentAt = performance.now();
    this._send(controlMessage(change));
  }
}
