// Runs before the first paint: a light page must not flash dark, and an overlay must not flash its controls.
(function () {
  var root = document.documentElement;
  var query = new URLSearchParams(location.search);
  var shown = query.get("overlay");
  var overlay = shown !== null && ["0", "false", "no"].indexOf(shown) < 0;
  var choice = query.get("theme");
  if (!choice && !overlay) {
    try {
      choice = localStorage.getItem("realtime-mer.theme");
    } catch (error) {
      choice = null;
    }
  }
  // What lies under an overlay does not follow the system's theme.
  var light = choice === "light"
    || (choice !== "dark" && !overlay && window.matchMedia("(prefers-color-scheme: light)").matches);
  root.dataset.theme = light ? "light" : "dark";
  if (overlay) root.dataset.overlay = "";
})();
