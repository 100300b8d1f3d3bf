/** Fetching the report of a session. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { saveReport } from "../mer_web/report.js";

/** Answers requests one after the other, and keeps their addresses. */
function server(...answers) {
  const urls = [];
  const get = async (url) => {
    urls.push(url);
    const next = answers.shift();
    if (next instanceof Error) throw next;
    return new Response(next.body ?? "", { status: next.status, headers: next.headers ?? {} });
  };
  return { get, urls };
}

test("a report that is being made is asked for again, and a refusal is told", async () => {
  const { get, urls } = server({ status: 503, headers: { "Retry-After": "0.01" } },
                               { status: 409, body: "there is nothing to report yet\n" });
  assert.equal(await saveReport("a b", get), "There is no report: there is nothing to report yet.");
  assert.deepEqual(urls, ["report.html?session=a%20b", "report.html?session=a%20b"]);
});

test("a server that is gone or busy for other reasons is no reason to wait", async () => {
  assert.match(await saveReport("a", server(new TypeError("no network")).get), /no connection to the server/);
  assert.match(await saveReport("a", server({ status: 503, body: "going away" }).get), /There is no report: going away/);
});
