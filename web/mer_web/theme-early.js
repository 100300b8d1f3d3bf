// Runs before the first paint: a light page must not flash dark, and an overlay must not flash its controls.
(function () {
  var root = document.documentElement;
  var query = new URLSearchParams(location.search);
  var choice = query.get("theme");
  if (!choice) {
    try {
      choice = localStorage.getItem("realtime-mer.theme");
    } catch (error) {
      choice = null;
    }
  }
  var light = choice === "light"
    || (choice !== "dark" && window.matchMedia("(prefers-color-scheme: light)").matches);
  root.dataset.theme = light ? "light" : "dark";
  var overlay = query.get("overlay");
  if (overlay !== null && ["0", "false", "no"].indexOf(overlay) < 0) {
    var show = query.get("show");
    root.dataset.overlay = show === "badge" || show === "timeline" ? show : "plane";
  }
})();
