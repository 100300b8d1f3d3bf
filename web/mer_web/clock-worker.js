/** Ticks for the page. Browsers slow the timers of a hidden page down to one a second or a minute, but not a worker's. */

const TICK_MS = 30;

setInterval(() => postMessage(null), TICK_MS);
