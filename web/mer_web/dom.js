/** The page's elements by name: a missing one is a mistake of ours and says so at once. */

/**
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Marks an element for the style sheet, only where the mark is another one.
 * @param {HTMLElement} node
 * @param {string} name
 * @param {string} value
 */
export function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/**
 * Writes a text only where it is another one, so that nothing is laid out for nothing.
 * @param {Element} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
