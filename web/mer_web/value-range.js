/** Which values the page draws: those of the model, or their place among music, where the server sends it. */

/**
 * @template T
 * @param {T & {scaled?: import("./protocol.js").AxisValues}} values  an estimate or its fast values
 * @returns {T | import("./protocol.js").AxisValues} the ones to draw
 */
export function shownValues(values) {
  return values.scaled ?? values;
}

/**
 * @param {import("./protocol.js").Hello} hello
 * @returns {string} the range as the page names it; empty for a server that sends none
 */
export function rangeLine({ range, adapt }) {
  return range && `range: ${range}${adapt ? ", adapting" : ""}`;
}
