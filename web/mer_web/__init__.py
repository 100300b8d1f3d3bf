"""The page: a fixed table of files. It needs no build step."""

from __future__ import annotations

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_NAMES = (
    "announcer.js",
    "app.js",
    "audio-file.js",
    "backoff.js",
    "bench.js",
    "calibrate.js",
    "canvas-style.js",
    "capture.js",
    "clock-worker.js",
    "connection.js",
    "decimate.js",
    "destination.js",
    "dom.js",
    "export.js",
    "gate.js",
    "history.js",
    "icon.svg",
    "idle-controls.js",
    "input-panel.js",
    "input.js",
    "microphone.js",
    "mood.js",
    "motion.js",
    "notice.js",
    "overlay.css",
    "page.css",
    "palette.js",
    "pcm-worklet.js",
    "pcm.js",
    "personal-layer.js",
    "personal.css",
    "plane.js",
    "protocol.js",
    "settings.js",
    "shortcuts.js",
    "show-panel.js",
    "show.css",
    "status.js",
    "surface.js",
    "tab-sound.js",
    "text.js",
    "theme-early.js",
    "theme.js",
    "timeline.js",
    "trail.js",
    "value-display.js",
    "value-range.js",
)

FILES: dict[str, tuple[str, str]] = {
    "/": ("index.html", _TYPES["html"]),
    "/calibrate": ("calibrate.html", _TYPES["html"]),
    **{f"/{name}": (name, _TYPES[name.rpartition(".")[2]]) for name in _NAMES},
}
"""Maps a URL path to (file name in this package, content type). No other file is served."""
