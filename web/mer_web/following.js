/** Following one stream of the server: `?session=ID`, as the wall links to it, and the way to the wall. */

import { setText } from "./dom.js";
import { clean } from "./text.js";

export class Following {
  /**
   * @param {string} search the query of the page's URL
   * @param {import("./connection.js").Connection} connection asks for the stream; not yet open
   */
  constructor(search, connection) {
    this._asked = clean(new URLSearchParams(search).get("session"), 80);
    if (this._asked) connection.resume = { session: this._asked, seq: -1 };
    /** Whether the shown stream is the one that was asked for. */
    this.active = false;
    this._name = "";
    this._text = document.createElement("span");
    this._strip = document.createElement("nav");
    this._strip.className = "following";
    this._strip.setAttribute("aria-label", "Wall");
    this._strip.hidden = true;
    const back = document.createElement("a");
    back.href = "wall";
    back.textContent = "Back to the wall";
    this._strip.append(back, this._text);
    document.querySelector("main")?.before(this._strip);
    this._wall = document.createElement("a");
    this._wall.className = "tool";
    this._wall.id = "wall-link";
    this._wall.href = "wall";
    this._wall.title = "All streams of this server at a glance";
    this._wall.hidden = true;
    document.querySelector(".tools")?.prepend(this._wall);
  }

  /** @param {import("./protocol.js").Hello} hello of the stream that is shown from now on */
  hello({ session, input, role }) {
    if (!this._asked) return;
    this.active = session === this._asked;
    this._strip.hidden = role !== "control" && !this.active;
    if (this.active) {
      this._name = input.name || input.kind;
      setText(this._text, `following ${this._name}`);
    } else {
      // The own sound of this browser is not a stream that somebody follows.
      setText(this._text, input.kind === "browser" ? "" : `${this._name || "That stream"} is over. This is the server's own.`);
    }
  }

  /**
   * @param {import("./protocol.js").Health} health
   * @param {string} role of this page
   */
  health({ sessions }, role) {
    this._wall.hidden = role !== "control" || sessions === 0 || !this._strip.hidden;
    setText(this._wall, `Wall (${sessions + 1})`);
  }
}
