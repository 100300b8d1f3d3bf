/** The report of a session, which the server makes in a while, as a download. */

import { save } from "./export.js";
import { loadToken } from "./settings.js";
import { clean } from "./text.js";

/** Seconds to wait for a report that the server is making; a whole evening takes less. */
const PATIENCE_S = 300;

/**
 * Asks for a report until it is ready, and saves it.
 * @param {string} session
 * @param {(url: string, options: RequestInit) => Promise<Response>} [get]
 * @returns {Promise<string>} why there is none, a sentence; empty if it was saved
 */
export async function saveReport(session, get = fetch) {
  const token = loadToken();
  /** @type {RequestInit} */
  const options = token ? { headers: { Authorization: `Bearer ${token}` } } : {};
  for (let waited = 0; waited < PATIENCE_S;) {
    let response;
    try {
      response = await get(`report.html?session=${encodeURIComponent(session)}`, options);
    } catch {
      return "The report could not be fetched: no connection to the server.";
    }
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 503 && wait > 0) {
      await new Promise((resume) => setTimeout(resume, wait * 1000));
      waited += wait;
      continue;
    }
    if (!response.ok) return `There is no report: ${clean(await response.text(), 300)}.`;
    const name = /filename="([\w.-]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    save(await response.blob(), name ?? "realtime-mer.html");
    return "";
  }
  return "The report takes too long; try again later.";
}

/**
 * Lets a link to `report.html` say what it does, show the token of this tab, and wait for the report.
 * @param {HTMLAnchorElement} link
 * @param {() => string} session  the one that is shown
 */
export function handleReportLink(link, session) {
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  link.after(status);
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    if (link.ariaDisabled === "true") return;
    link.ariaDisabled = "true";
    status.textContent = "The report is being made …";
    const refusal = await saveReport(session());
    link.ariaDisabled = "false";
    status.textContent = refusal || "The report is saved.";
  });
}
