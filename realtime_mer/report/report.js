"use strict";
// The readout under the pointer. Without this script the page says the same, but not of single moments.
(() => {
  const figure = document.querySelector("figure.timeline");
  const readout = document.querySelector(".readout");
  const plot = figure.querySelector(".plot");
  const cursor = figure.querySelector(".cursor");
  const { end_s: end, sessions } = JSON.parse(document.getElementById("moments").textContent);
  const legend = readout.innerHTML;
  let shownT = null;

  const signed = (value) => {
    const text = Math.abs(value).toFixed(2);
    return Number(text) === 0 ? text : (value > 0 ? "+" : "\u2212") + text;
  };
  const clock = (t) => {
    const seconds = Math.floor(t + 1e-6);
    const two = (n) => String(n).padStart(2, "0");
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  };
  const indexAt = ({ t }, time) => {
    let [low, high] = [0, t.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (t[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low > 0 && time - t[low - 1] < t[low] - time ? low - 1 : low;
  };
  const words = (session, time) => {
    const n = indexAt(session, time);
    const name = sessions.length > 1 ? `${session.name}: ` : "";
    if (Math.abs(session.t[n] - time) > 5 * session.hop_s) return `${name}no estimates`;
    const values = `valence ${signed(session.valence[n])}, arousal ${signed(session.arousal[n])}`;
    return `${name}${session.word[n]}, ${values}`;
  };
  const show = (time) => {
    shownT = Math.max(0, Math.min(end, time));
    const box = plot.getBoundingClientRect();
    cursor.hidden = false;
    cursor.style.left = `${box.left - figure.getBoundingClientRect().left + (shownT / end) * box.width}px`;
    readout.textContent = `${clock(shownT)}   ${sessions.map((session) => words(session, shownT)).join("   ")}`;
  };
  const hide = () => {
    shownT = null;
    cursor.hidden = true;
    readout.innerHTML = legend;
  };

  figure.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right) hide();
    else show(((event.clientX - box.left) / box.width) * end);
  });
  figure.addEventListener("pointerleave", hide);
  figure.addEventListener("blur", hide);
  window.addEventListener("beforeprint", hide);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: end / 100, ArrowLeft: -end / 100 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      show((shownT ?? (step > 0 ? -step : end - step)) + step);
    } else if (event.key === "Escape") hide();
  });
})();
