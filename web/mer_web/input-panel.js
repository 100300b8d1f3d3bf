/** The buttons for the input, the drop target for files, and the progress of a file. */

import { element, setText } from "./dom.js";
import { loadPreference, savePreference } from "./settings.js";
import { clock } from "./text.js";

export class InputPanel {
  /** @param {import("./input.js").InputChoice} input */
  constructor(input) {
    this._input = input;
    this._buttons = {
      server: element("use-server", HTMLButtonElement),
      microphone: element("use-microphone", HTMLButtonElement),
      file: element("use-file", HTMLButtonElement),
    };
    this._playing = element("playing", HTMLElement);
    this._name = element("playing-name", HTMLElement);
    this._progress = element("progress", HTMLProgressElement);
    this._position = element("position", HTMLElement);
    this._audibleRow = element("audible-row", HTMLElement);
    this._file = element("file", HTMLInputElement);
    this._drop = element("drop", HTMLElement);
    const audible = element("audible", HTMLInputElement);
    audible.checked = loadPreference("hear") !== "off";
    input.setAudible(audible.checked);
    audible.addEventListener("change", () => {
      savePreference("hear", audible.checked ? "on" : "off");
      input.setAudible(audible.checked);
    });
    this._buttons.server.addEventListener("click", () => this.selectServer());
    this._buttons.microphone.addEventListener("click", () => this.selectMicrophone());
    this._buttons.file.addEventListener("click", () => this.openFileDialog());
    element("stop", HTMLButtonElement).addEventListener("click", () => this.selectServer());
    this._file.addEventListener("change", () => {
      const [file] = this._file.files ?? [];
      if (file) void input.useFile(file);
      this._file.value = "";
    });
    input.addEventListener("change", () => this._show());
    this._addDropTarget();
    this._show();
  }

  selectServer() {
    if (this._input.choice.kind !== "server") void this._input.useServer();
  }

  selectMicrophone() {
    if (this._input.choice.kind !== "microphone") void this._input.useMicrophone();
  }

  openFileDialog() {
    this._file.click();
  }

  _addDropTarget() {
    // Entering a child fires before leaving its parent: only a count shows when the pointer has left.
    let depth = 0;
    const files = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener("dragenter", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      depth += 1;
      this._drop.hidden = false;
    });
    addEventListener("dragover", (event) => {
      if (files(event)) event.preventDefault();
    });
    addEventListener("dragleave", () => {
      depth = Math.max(0, depth - 1);
      if (depth === 0) this._drop.hidden = true;
    });
    addEventListener("drop", (event) => {
      depth = 0;
      this._drop.hidden = true;
      const [file] = event.dataTransfer?.files ?? [];
      if (!file) return;
      event.preventDefault();
      void this._input.useFile(file);
    });
  }

  _show() {
    const { kind, phase, name } = this._input.choice;
    for (const [of, button] of Object.entries(this._buttons)) button.setAttribute("aria-pressed", String(of === kind));
    this._playing.hidden = kind === "server";
    this._progress.hidden = this._position.hidden = this._audibleRow.hidden = kind !== "file" || phase === "opening";
    const opening = kind === "file" ? `reading ${name}…` : "waiting for the microphone…";
    setText(this._name, phase === "opening" ? opening : name);
    this._name.title = name;
    this.tick();
  }

  /** Updates the position. */
  tick() {
    const progress = this._input.progress;
    if (!progress) return;
    this._progress.value = progress.duration ? progress.position / progress.duration : 0;
    setText(this._position, `${clock(progress.position)} of ${clock(progress.duration)}`);
  }
}
