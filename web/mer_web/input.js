/**
 * Which music is heard: the server's own input, this browser's microphone, or a file. One at a time; the last
 * choice wins, also while an earlier one is still asking for permission.
 *
 * Events: "change" (detail: Choice), "failed" (detail: string, a sentence for the reader).
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
    this._turn = 0;
    /** Streams that we stopped and whose end the server has yet to tell. */
    this._stops = 0;
    this.heard = true;
    /** @type {Choice} */
    this.choice = { kind: "server", phase: "running", name: "" };
    connection.addEventListener("phase", () => {
      // The server forgets a stream with its connection: a new connection starts a new one.
      if (connection.phase.name !== "open") return;
      this._stops = 0;
      this._announce();
    });
  }

  /** Seconds of audio that never left this browser. */
  get droppedSeconds() {
    return this._sender?.droppedSeconds ?? 0;
  }

  /** @returns {{position: number, duration: number}|null} how far the file is */
  get progress() {
    return this._source instanceof AudioFile ? this._source.progress : null;
  }

  async useServer() {
    const turn = await this._leave();
    if (turn !== this._turn) return;
    this._change({ kind: "server", phase: "running", name: "" });
  }

  async useMicrophone() {
    const source = new Microphone((block) => this._sender?.push(block), (reason) => this._fail(reason));
    await this._enter("microphone", source, "");
  }

  /** @param {File} file */
  async useFile(file) {
    const source = new AudioFile(file, (block) => this._sender?.push(block), () => {
      this.dispatchEvent(new CustomEvent("finished", { detail: clean(file.name, 80) }));
      void this.useServer();
    });
    await this._enter("file", source, file.name);
  }

  /** @param {boolean} heard whether a file should sound from the speakers too */
  hear(heard) {
    this.heard = heard;
    if (this._source instanceof AudioFile && this.choice.phase === "running") this._source.hear(heard);
  }

  /**
   * @param {Kind} kind
   * @param {Microphone|AudioFile} source
   * @param {string} name
   */
  async _enter(kind, source, name) {
    const turn = await this._leave();
    if (turn !== this._turn) return;
    this._change({ kind, phase: "opening", name: clean(name, 80) });
    try {
      await source.open();
    } catch (error) {
      if (turn === this._turn) this._fail(/** @type {Error} */ (error).message);
      return;
    }
    if (turn !== this._turn) {
      await source.close();
      return;
    }
    this._source = source;
    this._sender = new PcmSender(this._connection, source.sampleRate);
    this._announce();
    if (source instanceof AudioFile) {
      source.play();
      if (this.heard) source.hear(true);
    }
    this._change({ kind, phase: "running", name: clean(source.name, 80) });
  }

  /** @returns {Promise<number>} the turn that begins with this; another turn may have begun meanwhile */
  async _leave() {
    this._turn += 1;
    const turn = this._turn;
    const source = this._source;
    this._source = null;
    this._sender = null;
    if (source) {
      if (this._connection.send(STOP_MESSAGE)) this._stops += 1;
      await source.close();
    }
    return turn;
  }

  /** Tells the server that samples of this browser follow. */
  _announce() {
    if (!this._source || !this._sender) return;
    this._connection.send(startMessage(this._sender.sampleRate, this._source.name));
  }

  /**
   * The stream cannot go on: back to the server's own input, and say why.
   * @param {string} reason
   */
  _fail(reason) {
    this.dispatchEvent(new CustomEvent("failed", { detail: reason }));
    void this.useServer();
  }

  /**
   * The server says that a stream of ours is over: as we wished, or for a reason of its own.
   * @param {string} reason
   */
  ended(reason) {
    if (this._stops > 0) this._stops -= 1;
    else this.refuse(`The server ended the stream: ${reason || "no reason given"}.`);
  }

  /**
   * The server takes no audio of ours.
   * @param {string} reason
   */
  refuse(reason) {
    if (this.choice.kind !== "server") this._fail(reason);
  }

  /** @param {Choice} choice */
  _change(choice) {
    this.choice = choice;
    this.dispatchEvent(new CustomEvent("change", { detail: choice }));
  }
}
