/** The buttons that choose the input, the file that is dropped on the page, and how far it has played. */

import { element, write } from "./dom.js";
import { recall, remember } from "./settings.js";
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
    this._hearRow = element("hear-row", HTMLElement);
    this._file = element("file", HTMLInputElement);
    this._drop = element("drop", HTMLElement);
    const hear = element("hear", HTMLInputElement);
    hear.checked = recall("hear") !== "off";
    input.hear(hear.checked);
    hear.addEventListener("change", () => {
      remember("hear", hear.checked ? "on" : "off");
      input.hear(hear.checked);
    });
    this._buttons.server.addEventListener("click", () => this.server());
    this._buttons.microphone.addEventListener("click", () => this.microphone());
    this._buttons.file.addEventListener("click", () => this.file());
    element("stop", HTMLButtonElement).addEventListener("click", () => this.server());
    this._file.addEventListener("change", () => {
      const [file] = this._file.files ?? [];
      if (file) void input.useFile(file);
      this._file.value = "";
    });
    input.addEventListener("change", () => this._show());
    this._takeDrops();
    this._show();
  }

  server() {
    if (this._input.choice.kind !== "server") void this._input.useServer();
  }

  microphone() {
    if (this._input.choice.kind !== "microphone") void this._input.useMicrophone();
  }

  file() {
    this._file.click();
  }

  _takeDrops() {
    // Entering a child fires before leaving its parent: only the count knows when the pointer is gone.
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
    this._progress.hidden = this._position.hidden = this._hearRow.hidden = kind !== "file" || phase === "opening";
    const opening = kind === "file" ? `reading ${name}…` : "asking for the microphone…";
    write(this._name, phase === "opening" ? opening : name);
    this._name.title = name;
    this.tick();
  }

  /** Brings the position up to date. */
  tick() {
    const progress = this._input.progress;
    if (!progress) return;
    this._progress.value = progress.duration ? progress.position / progress.duration : 0;
    write(this._position, `${clock(progress.position)} of ${clock(progress.duration)}`);
  }
}
