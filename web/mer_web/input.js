/**
 * The choice of input: the server's own, this browser's microphone, or a file. One at a time; the last choice
 * wins, even while an earlier one is still waiting for permission.
 *
 * Events: "change" (detail: Choice), "failed" (detail: string, a sentence for the user), "finished" (detail:
 * string, the file's name).
 */

import { AudioFile } from "./audio-file.js";
import { Microphone } from "./microphone.js";
import { PcmSender } from "./pcm.js";
import { STOP_MESSAGE, startMessage } from "./protocol.js";
import { clean } from "./text.js";

/**
 * @typedef {"server"|"microphone"|"file"} Kind
 * @typedef {{kind: Kind, phase: "opening"|"running", name: string}} Choice
 */

export class InputChoice extends EventTarget {
  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    super();
    this._connection = connection;
    /** @type {Microphone|AudioFile|null} */
    this._source = null;
    /** @type {PcmSender|null} */
    this._sender = null;
    this._generation = 0;
    /** Streams that this page stopped and whose end the server has not sent yet. */
    this._pendingStops = 0;
    this.audible = true;
    /** @type {Choice} */
    this.choice = { kind: "server", phase: "running", name: "" };
    connection.addEventListener("phase", () => {
      // A stream ends with its connection: start a new one on a new connection.
      if (connection.phase.name !== "open") return;
      this._pendingStops = 0;
      this._sendStart();
    });
  }

  /** Seconds of audio that this browser could not send. */
  get droppedSeconds() {
    return this._sender?.droppedSeconds ?? 0;
  }

  /** @returns {{position: number, duration: number}|null} progress of the file, in seconds */
  get progress() {
    return this._source instanceof AudioFile ? this._source.progress : null;
  }

  async useServer() {
    const generation = await this._closeSource();
    if (generation !== this._generation) return;
    this._change({ kind: "server", phase: "running", name: "" });
  }

  async useMicrophone() {
    const source = new Microphone((block) => this._sender?.push(block), (reason) => this._fail(reason));
    await this._open("microphone", source, "");
  }

  /** @param {File} file */
  async useFile(file) {
    const source = new AudioFile(file, (block) => this._sender?.push(block), () => {
      this.dispatchEvent(new CustomEvent("finished", { detail: clean(file.name, 80) }));
      void this.useServer();
    });
    await this._open("file", source, file.name);
  }

  /** @param {boolean} audible whether to play a file through the speakers too */
  setAudible(audible) {
    this.audible = audible;
    if (this._source instanceof AudioFile && this.choice.phase === "running") this._source.setAudible(audible);
  }

  /**
   * @param {Kind} kind
   * @param {Microphone|AudioFile} source
   * @param {string} name
   */
  async _open(kind, source, name) {
    const generation = await this._closeSource();
    if (generation !== this._generation) return;
    this._change({ kind, phase: "opening", name: clean(name, 80) });
    try {
      await source.open();
    } catch (error) {
      if (generation === this._generation) this._fail(/** @type {Error} */ (error).message);
      return;
    }
    if (generation !== this._generation) {
      await source.close();
      return;
    }
    this._source = source;
    this._sender = new PcmSender(this._connection, source.sampleRate);
    this._sendStart();
    if (source instanceof AudioFile) {
      source.play();
      if (this.audible) source.setAudible(true);
    }
    this._change({ kind, phase: "running", name: clean(source.name, 80) });
  }

  /** @returns {Promise<number>} the new generation; a later one may have begun meanwhile */
  async _closeSource() {
    this._generation += 1;
    const generation = this._generation;
    const source = this._source;
    this._source = null;
    this._sender = null;
    if (source) {
      if (this._connection.send(STOP_MESSAGE)) this._pendingStops += 1;
      await source.close();
    }
    return generation;
  }

  /** Announces to the server that audio follows. */
  _sendStart() {
    if (!this._source || !this._sender) return;
    this._connection.send(startMessage(this._sender.sampleRate, this._source.name));
  }

  /**
   * Ends a stream that cannot continue: returns to the server's own input and reports the reason.
   * @param {string} reason
   */
  _fail(reason) {
    this.dispatchEvent(new CustomEvent("failed", { detail: reason }));
    void this.useServer();
  }

  /**
   * Handles the end of a stream of this page: requested by the page, or by the server for its own reason.
   * @param {string} reason
   */
  handleStreamEnd(reason) {
    if (this._pendingStops > 0) this._pendingStops -= 1;
    else this.handleRefusal(`The server ended the stream: ${reason || "no reason given"}.`);
  }

  /**
   * Handles a server that accepts no audio from this page.
   * @param {string} reason
   */
  handleRefusal(reason) {
    if (this.choice.kind !== "server") this._fail(reason);
  }

  /** @param {Choice} choice */
  _change(choice) {
    this.choice = choice;
    this.dispatchEvent(new CustomEvent("change", { detail: choice }));
  }
}
