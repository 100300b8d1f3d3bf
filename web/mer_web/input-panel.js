/** The buttons for the input, the choice of a microphone, the drop target for files, and the progress of a file. */

import { isCompareFile } from "./compare-file.js";
import { destinationLine } from "./destination.js";
import { element, setData, setText } from "./dom.js";
import { chooseMicrophone, chosenMicrophone, listMicrophones } from "./microphone.js";
import { loadPreference, savePreference } from "./settings.js";
import { canShareSound } from "./tab-sound.js";
import { clean, clock } from "./text.js";

/** @type {Record<import("./input.js").Kind, string>} */
const OPENING = { server: "", microphone: "waiting for the microphone…", tab: "choose what to share…", file: "" };

/**
 * @param {import("./input.js").Choice} choice
 * @param {boolean} sending  whether the server takes the sound now
 * @param {string} host
 * @returns {string} what the sound of this browser does
 */
export function sendingLine({ kind, phase, name }, sending, host) {
  if (phase === "opening") return kind === "file" ? `reading ${name}…` : OPENING[kind];
  if (phase === "waiting") return `${name}: no sound`;
  const what = { server: "", microphone: "Your microphone", tab: "Your shared sound", file: name }[kind];
  return sending ? `${what} is being sent to ${host}` : `${what} waits for the server`;
}

/**
 * @param {DataTransfer} transfer what was dropped
 * @returns {File|string} the file, or why nothing can be played, a sentence
 */
export function droppedFile({ files, items }) {
  if (files.length > 1) {
    return `${files.length} files were dropped, and this page plays one at a time: drop one of them. `
      + "realtime-mer analyze takes many at once.";
  }
  // A link or a text may look like a file while it is dragged.
  if (!files.length) return "No file was dropped. Save the sound as a file first, then drop that.";
  if (items[0]?.webkitGetAsEntry?.()?.isDirectory) {
    return `“${clean(files[0].name, 80)}” is a folder: drop one of the files in it. realtime-mer analyze takes many at once.`;
  }
  return files[0];
}

/** Opens this page again with the server's own stream. */
function leaveFollowed() {
  const url = new URL(location.href);
  url.searchParams.delete("session");
  location.assign(url);
}

export class InputPanel {
  /**
   * @param {import("./input.js").InputChoice} input
   * @param {(file: File) => void} compare  takes a dropped file that is not sound
   */
  constructor(input, compare) {
    this._input = input;
    this._compare = compare;
    this._buttons = {
      server: element("use-server", HTMLButtonElement),
      microphone: element("use-microphone", HTMLButtonElement),
      tab: element("use-tab", HTMLButtonElement),
      file: element("use-file", HTMLButtonElement),
    };
    this._buttons.tab.hidden = !canShareSound();
    this._device = element("device", HTMLSelectElement);
    this._playing = element("playing", HTMLElement);
    this._name = element("playing-name", HTMLElement);
    this._progress = element("progress", HTMLProgressElement);
    this._position = element("position", HTMLElement);
    this._audibleRow = element("audible-row", HTMLElement);
    this._file = element("file", HTMLInputElement);
    this._drop = element("drop", HTMLElement);
    this._rights = element("rights", HTMLElement);
    /** Why this page may not send sound, a sentence; empty if it may. */
    this._refusal = "";
    this._follows = false;
    const audible = element("audible", HTMLInputElement);
    audible.checked = loadPreference("hear") !== "off";
    input.setAudible(audible.checked);
    audible.addEventListener("change", () => {
      savePreference("hear", audible.checked ? "on" : "off");
      input.setAudible(audible.checked);
    });
    this._buttons.server.addEventListener("click", () => this.selectServer());
    this._buttons.microphone.addEventListener("click", () => this.selectMicrophone());
    this._buttons.tab.addEventListener("click", () => {
      if (input.choice.kind !== "tab" && this._maySend()) void input.useTabSound();
    });
    this._device.addEventListener("change", () => this._chooseDevice());
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this._showDevices());
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
    else if (this._follows) leaveFollowed();
  }

  /** @param {boolean} follows  whether the page shows a stream that is not the server's own and not this browser's */
  setFollowing(follows) {
    this._follows = follows;
    this._show();
  }

  selectMicrophone() {
    if (this._input.choice.kind !== "microphone" && this._maySend()) void this._input.useMicrophone(chosenMicrophone());
  }

  /**
   * @param {string} refusal  why this page may not send sound, a sentence; empty if it may
   */
  setRights(refusal) {
    this._refusal = refusal;
    setText(this._rights, refusal || destinationLine(location));
    // Not `disabled`: the buttons stay within reach of the keyboard, and say why.
    for (const kind of /** @type {const} */ (["microphone", "tab", "file"])) {
      this._buttons[kind].setAttribute("aria-disabled", String(refusal !== ""));
    }
  }

  /** @returns {boolean} false after telling the user why not */
  _maySend() {
    if (this._refusal) this._input.notify(this._refusal);
    return this._refusal === "";
  }

  _chooseDevice() {
    const [option] = this._device.selectedOptions;
    const device = { id: option.value, label: option.text };
    chooseMicrophone(device);
    void this._input.useMicrophone(device);
  }

  /** Offers the microphones where there is a choice, with one that is waited for. */
  async _showDevices() {
    const devices = await listMicrophones();
    const used = this._input.microphone;
    if (used && !devices.some(({ id }) => id === used.id)) devices.push({ ...used, label: `${used.label} (missing)` });
    const options = devices.map(({ id, label }) => new Option(clean(label, 80), id, false, id === used?.id));
    this._device.replaceChildren(...options);
    this._device.hidden = !used || devices.length < 2;
  }

  openFileDialog() {
    if (this._maySend()) this._file.click();
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
      if (!event.dataTransfer || !files(event)) return;
      event.preventDefault();
      const dropped = droppedFile(event.dataTransfer);
      if (typeof dropped !== "string" && isCompareFile(dropped.name)) {
        this._compare(dropped);
        return;
      }
      if (!this._maySend()) return;
      if (typeof dropped === "string") this._input.notify(dropped);
      else void this._input.useFile(dropped);
    });
  }

  _show() {
    const { kind, phase, name } = this._input.choice;
    for (const [of, button] of Object.entries(this._buttons)) {
      button.setAttribute("aria-pressed", String(of === kind && !(this._follows && kind === "server")));
    }
    // While sound is sent, the bar that says so names its destination.
    this._playing.hidden = kind === "server";
    this._rights.hidden = kind !== "server";
    this._progress.hidden = this._position.hidden = this._audibleRow.hidden = kind !== "file" || phase === "opening";
    this._name.title = name;
    void this._showDevices();
    this.tick();
  }

  /** Updates what the sound does, and the position. */
  tick() {
    const { choice, isSending } = this._input;
    setText(this._name, sendingLine(choice, isSending, location.host));
    setData(this._playing, "sending", isSending ? "yes" : "no");
    const progress = this._input.progress;
    if (!progress) return;
    this._progress.value = progress.duration ? progress.position / progress.duration : 0;
    setText(this._position, `${clock(progress.position)} of ${clock(progress.duration)}`);
  }
}
