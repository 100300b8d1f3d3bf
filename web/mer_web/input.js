/**
 * The choice of input: the server's own, this browser's microphone, shared sound, or a file. One at a time; the last
 * choice wins, even while an earlier one is still waiting for permission.
 *
 * Events: "change" (detail: Choice), "notice" (detail: string, a sentence for the user), "finished" (detail:
 * string, the file's name).
 */

import { AudioFile } from "./audio-file.js";
import { Microphone } from "./microphone.js";
import { PcmSender, hasRoom } from "./pcm.js";
import { STOP_MESSAGE, startMessage } from "./protocol.js";
import { TabSound } from "./tab-sound.js";
import { clean } from "./text.js";

/**
 * @typedef {"server"|"microphone"|"tab"|"file"} Kind
 * @typedef {Microphone|TabSound|AudioFile} Source
 * @typedef {"opening"|"running"|"waiting"} Phase
 *
 * @typedef {object} Choice
 * @property {Kind} kind
 * @property {Phase} phase    waiting: no sound comes for now, and the source continues by itself
 * @property {string} name
 * @property {string} trouble  why it waits, a sentence
 */

export class InputChoice extends EventTarget {
  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    super();
    this._connection = connection;
    /** @type {Source|null} */
    this._source = null;
    /** @type {PcmSender|null} */
    this._sender = null;
    this._generation = 0;
    /** Whether the server takes audio of this page: started, and not yet ended by either side. */
    this._streaming = false;
    /** Streams that this page stopped and whose end the server has not sent yet. */
    this._pendingStops = 0;
    this.audible = true;
    /** @type {Choice} */
    this.choice = { kind: "server", phase: "running", name: "", trouble: "" };
    connection.addEventListener("phase", () => {
      // A stream ends with its connection; the next block starts a new one on a new connection.
      this._pendingStops = 0;
      this._streaming = false;
    });
  }

  /** Whether the server takes audio of this page now. */
  get isSending() {
    return this._streaming;
  }

  /** Seconds of audio that this browser could not send. */
  get droppedSeconds() {
    return this._sender?.droppedSeconds ?? 0;
  }

  /** @returns {{position: number, duration: number}|null} progress of the file, in seconds */
  get progress() {
    return this._source instanceof AudioFile ? this._source.progress : null;
  }

  /** @returns {import("./microphone.js").Device|null} the microphone in use or waited for */
  get microphone() {
    return this._source instanceof Microphone ? this._source.device : null;
  }

  async useServer() {
    const generation = await this._closeSource();
    if (generation !== this._generation) return;
    this._change({ kind: "server", phase: "running", name: "", trouble: "" });
  }

  /** @param {import("./microphone.js").Device|null} device null for the system's default */
  async useMicrophone(device) {
    await this._open("microphone", (events) => new Microphone(device, events), device?.label ?? "");
  }

  async useTabSound() {
    await this._open("tab", (events) => new TabSound(events), "");
  }

  /** @param {File} file */
  async useFile(file) {
    const canSend = (/** @type {number} */ sampleRate) => hasRoom(this._connection, sampleRate);
    await this._open("file", ({ block }) => new AudioFile(file, canSend, block, () => {
      this.dispatchEvent(new CustomEvent("finished", { detail: clean(file.name, 80) }));
      void this.useServer();
    }), file.name);
  }

  /**
   * Tells the user something; the present input stays.
   * @param {string} text
   */
  notify(text) {
    this.dispatchEvent(new CustomEvent("notice", { detail: text }));
  }

  /** @param {boolean} audible whether to play a file through the speakers too */
  setAudible(audible) {
    this.audible = audible;
    if (this._source instanceof AudioFile && this.choice.phase === "running") this._source.setAudible(audible);
  }

  /**
   * @param {Kind} kind
   * @param {(events: import("./capture.js").SourceEvents) => Source} make
   * @param {string} name
   */
  async _open(kind, make, name) {
    const generation = await this._closeSource();
    if (generation !== this._generation) return;
    this._change({ kind, phase: "opening", name: clean(name, 80), trouble: "" });
    let trouble = "";
    const current = () => generation === this._generation;
    const source = make({
      block: (block, sampleRate) => {
        if (current() && this._source) this._push(this._source.name, block, sampleRate);
      },
      trouble: (text) => {
        trouble = text;
        if (current() && this._source) this._settle(this._source, kind, text);
      },
      note: (text) => {
        if (current()) this.notify(text);
      },
      ended: (reason) => {
        if (current()) this._fail(reason);
      },
    });
    try {
      await source.open();
    } catch (error) {
      await source.close();
      if (current()) this._fail(/** @type {Error} */ (error).message);
      return;
    }
    if (!current()) {
      await source.close();
      return;
    }
    this._source = source;
    if (source instanceof AudioFile) {
      source.play();
      if (this.audible) source.setAudible(true);
    }
    this._settle(source, kind, trouble);
  }

  /**
   * @param {Source} source
   * @param {Kind} kind
   * @param {string} trouble
   */
  _settle(source, kind, trouble) {
    this._change({ kind, phase: trouble ? "waiting" : "running", name: clean(source.name, 80), trouble });
  }

  /**
   * @param {string} name
   * @param {ArrayBuffer} block
   * @param {number} sampleRate in Hz; another one starts another stream
   */
  _push(name, block, sampleRate) {
    if (this._sender?.sampleRate !== sampleRate) {
      this._stopStream();
      this._sender = new PcmSender(this._connection, sampleRate);
    }
    this._streaming ||= this._connection.send(startMessage(sampleRate, name));
    this._sender.push(block);
  }

  _stopStream() {
    if (this._streaming && this._connection.send(STOP_MESSAGE)) this._pendingStops += 1;
    this._streaming = false;
  }

  /** @returns {Promise<number>} the new generation; a later one may have begun meanwhile */
  async _closeSource() {
    this._generation += 1;
    const generation = this._generation;
    const source = this._source;
    this._source = null;
    this._sender = null;
    this._stopStream();
    await source?.close();
    return generation;
  }

  /**
   * Ends a stream that cannot continue: returns to the server's own input and reports the reason.
   * @param {string} reason
   */
  _fail(reason) {
    this.notify(reason);
    void this.useServer();
  }

  /**
   * Handles the end of a stream of this page: requested by the page, or by the server for its own reason.
   * @param {string} reason
   */
  handleStreamEnd(reason) {
    if (this._pendingStops > 0) {
      this._pendingStops -= 1;
      return;
    }
    this._streaming = false;
    // While no sound comes the server gives up after a minute; the sound's return starts another stream.
    if (this.choice.phase !== "waiting") this.handleRefusal(`The server ended the stream: ${reason || "no reason given"}.`);
  }

  /**
   * Handles a server that accepts no audio from this page.
   * @param {string} reason
   */
  handleRefusal(reason) {
    this._streaming = false;
    if (this.choice.kind !== "server") this._fail(reason);
  }

  /** @param {Choice} choice */
  _change(choice) {
    this.choice = choice;
    this.dispatchEvent(new CustomEvent("change", { detail: choice }));
  }
}
