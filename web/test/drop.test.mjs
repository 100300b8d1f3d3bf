import assert from "node:assert/strict";
import { test } from "node:test";

import { droppedFile } from "../mer_web/input-panel.js";

const item = (isDirectory) => ({ webkitGetAsEntry: () => ({ isDirectory }) });

test("one file is taken", () => {
  const file = { name: "a.wav" };
  assert.equal(droppedFile({ files: [file], items: [item(false)] }), file);
  // Some browsers cannot tell a folder from a file.
  assert.equal(droppedFile({ files: [file], items: [{}] }), file);
});

test("a folder, several files and no file have a sentence each", () => {
  assert.match(droppedFile({ files: [{ name: "album" }], items: [item(true)] }), /^“album” is a folder: /);
  assert.match(droppedFile({ files: [{}, {}], items: [item(false), item(false)] }), /^2 files were dropped/);
  assert.match(droppedFile({ files: [], items: [] }), /^No file was dropped/);
});
