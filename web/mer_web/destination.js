/** Where this page sends its sound and its token, in words. */

/** @typedef {{protocol: string, hostname: string, host: string}} Place  as `location` has them */

/**
 * @param {Place} place
 * @returns {boolean} whether the server runs on this machine
 */
function isHere({ hostname }) {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/**
 * @param {Place} place
 * @returns {boolean} whether nobody in between can read what is sent there
 */
export function isPrivate(place) {
  return place.protocol === "https:" || isHere(place);
}

/**
 * @param {Place} place
 * @returns {string} what happens to the sound of this browser, a sentence; servers record only their own input
 */
export function destinationLine(place) {
  const how = isHere(place) ? "on this computer" : place.protocol === "https:"
    ? "over an encrypted connection" : "over a connection that is not encrypted";
  return `Sound from this browser goes to ${place.host}, ${how}, and is not kept. Its operator sees the values, not the sound.`;
}
