"""Measures the page in a headless browser: frames, and what a viewer costs browser and server.

Each view of the page is opened in a Chromium without a graphics card, beside a real server that
plays music. With --before, the same is measured with another revision's server and page, view by
view in turn, in a git worktree of it.

python benchmarks/page_frames.py [--input FILE] [--before REVISION] [--seconds 3]
    [--json results/page_frames.json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mer_engine import load_engine

from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

ROOT = Path(__file__).parents[1]
SIZES = ((1440, 900), (1920, 1080))
LATE_MS = 17.5  # a frame at 60 Hz takes 16.7 ms
SETTLE_S = 1.0  # the first frames paint everything and compile the code
BENCH_HISTORY = 36_000  # estimates of the page's own benchmark: an hour
START_TIMEOUT_S = 90.0
READY_TIMEOUT_MS = 60_000
TICKS_HZ = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

# Notes each frame: its time, and how long the page's own code ran in it. `canvas` commands are
# carried out later, in other processes, whose processor time is measured beside.
METER = """
(() => {
  const request = window.requestAnimationFrame.bind(window);
  let frames = null;
  window.requestAnimationFrame = (callback) => request((now) => {
    const begun = performance.now();
    try {
      callback(now);
    } finally {
      if (frames) {
        const spent = performance.now() - begun;
        const last = frames[frames.length - 1];
        if (last && last[0] === now) last[1] += spent;
        else frames.push([now, spent]);
      }
    }
  });
  window.frameMeter = {
    start() { frames = []; },
    stop() { const taken = frames; frames = null; return taken; },
  };
})();
"""
WITHOUT_PULSES = """
(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (!/"type": ?"pulse"/.test(data)) send.call(this, data);
  };
})();
"""


@dataclass(frozen=True)
class View:
    """A view of the page.

    Attributes:
        name: of the view.
        query: of its address.
        script: runs in the page before its own code.
        prepare: runs in the page before the measurement.
        estimates: the page must hold so many before.
        needs: file of `web/mer_web` without which a revision has no such view.
    """

    name: str
    query: str
    script: str = ""
    prepare: str = ""
    estimates: int = 1
    needs: str = "app.js"


HOUR = "() => mer.setZoom(3600)"
MINUTE = "() => mer.setZoom(60)"
VIEWS = (
    View("page", ""),
    View("page without pulses", "", script=WITHOUT_PULSES, needs="pulse.js"),
    View("timeline, 1 min of an hour", "?bench=60", prepare=MINUTE, estimates=BENCH_HISTORY),
    View("timeline, 1 h", "?bench=60", prepare=HOUR, estimates=BENCH_HISTORY),
    View("overlay, plane", "?overlay=1&show=plane"),
    View("overlay, timeline", "?overlay=1&show=timeline"),
    View("overlay, wash and badge", "?overlay=1&show=wash,badge", needs="overlay.js"),
)


def views_of(tree: Path) -> list[View]:
    """Return the views that the page of a source tree has, those of its scenes last."""
    folder = tree / "web" / "mer_web"
    views = [view for view in VIEWS if (folder / view.needs).is_file()]
    for path in sorted((folder / "scenes").glob("*.js")):
        views.append(View(f"stage, {path.stem}", f"?stage=1&scene={path.stem}"))
    return views


class Server:
    """A running server of a source tree.

    Args:
        tree: the source tree.
        source: its input.
        log: gets its messages.

    Attributes:
        url: of its page.
        tree: the source tree.
        views: those that its page has.
    """

    def __init__(self, tree: Path, source: str, log: Path) -> None:
        self.tree = tree
        self.views = {view.name: view for view in views_of(tree)}
        path = os.pathsep.join(str(tree / part) for part in ("", "engine", "web"))
        command = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0"]
        with log.open("wb") as messages:
            self._process = subprocess.Popen(
                [*command, "--input", source, "--loop"],
                stdout=subprocess.PIPE,
                stderr=messages,
                cwd=tree,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(rb"https?://\S+", line):
                self.url = found.group().decode().rstrip("/") + "/"
                return
        raise SystemExit(f"the server of {tree} did not start: {log.read_text(errors='replace')}")

    def processor_s(self) -> float:
        """Return its processor time so far."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_HZ

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(START_TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def worktree(revision: str, folder: Path) -> Iterator[Path]:
    """Check a revision out into a folder until the end of the `with` block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    added = subprocess.run(
        [*git, "add", "--detach", str(folder), revision], capture_output=True, text=True
    )
    if added.returncode:
        raise SystemExit(f"the revision {revision!r} cannot be checked out: {added.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def browser_s(session: CDPSession) -> dict[str, dict[int, float]]:
    """Return the processor time so far of the browser's processes, by kind and number."""
    kinds: dict[str, dict[int, float]] = {}
    for each in session.send("SystemInfo.getProcessInfo")["processInfo"]:
        kinds.setdefault(each["type"], {})[each["id"]] = each["cpuTime"]
    return kinds


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Return the processor time of the processes that ran at both moments, in seconds."""
    return sum(after[number] - before[number] for number in before.keys() & after.keys())


def measure(
    browser: Browser, server: Server, view: View, size: tuple[int, int], seconds: float
) -> dict[str, Any]:
    """Return the figures of a view."""
    width, height = size
    session = browser.new_browser_cdp_session()
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.add_init_script(METER + view.script)
        page.goto(server.url + view.query)
        ready = f"() => window.mer?.history.length >= {view.estimates}"
        page.wait_for_function(ready, timeout=READY_TIMEOUT_MS)
        if view.prepare:
            page.evaluate(view.prepare)
        page.wait_for_timeout(1000 * SETTLE_S)
        row = _measured(page, session, server, seconds)
    session.detach()
    return {"view": view.name, "size": f"{width} x {height}", **row}


def _measured(page: Page, session: CDPSession, server: Server, seconds: float) -> dict[str, Any]:
    begun, server_s, before = time.monotonic(), server.processor_s(), browser_s(session)
    page.evaluate("frameMeter.start()")
    page.wait_for_timeout(1000 * seconds)
    frames: list[tuple[float, float]] = page.evaluate("frameMeter.stop()")
    after = browser_s(session)
    wall_s, server_s = time.monotonic() - begun, server.processor_s() - server_s
    if len(frames) < 3:
        raise SystemExit(f"{page.url} drew {len(frames)} frames in {seconds:g} s: nothing to see")
    times, scripts = np.array(frames).T / 1e3
    intervals = np.diff(times)
    return {
        "frames": len(frames),
        "frames_per_s": round(float((len(times) - 1) / (times[-1] - times[0])), 1),
        "interval_ms": percentiles_ms(intervals.tolist()),
        "late_share": round(float(np.mean(1e3 * intervals > LATE_MS)), 4),
        "script_ms": percentiles_ms(scripts.tolist()),
        "renderer_share": round(spent(before["renderer"], after["renderer"]) / wall_s, 4),
        "gpu_share": round(spent(before.get("GPU", {}), after.get("GPU", {})) / wall_s, 4),
        "server_share": round(server_s / wall_s, 4),
    }


def idle(server: Server, seconds: float) -> float:
    """Return the share of a core that a server takes without a viewer."""
    begun, before = time.monotonic(), server.processor_s()
    time.sleep(seconds)
    return round((server.processor_s() - before) / (time.monotonic() - begun), 4)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", type=Path, metavar="FILE", help="music (default: the demo)")
    parser.add_argument("--before", metavar="REVISION", help="also measure this git revision")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each view (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if args.seconds < 1.0:
        parser.error(f"--seconds is {args.seconds:g}; it must be at least 1")
    browsers = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    if chromium is None:
        parser.error(f"no browser: none of {', '.join(browsers)} is in PATH")
    if not Path("/proc/self/stat").is_file():
        parser.error("this system does not tell the processor time of a process; use Linux")
    from playwright.sync_api import sync_playwright

    source = "demo" if args.input is None else str(args.input.resolve())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trees = {"now": ROOT}
        if args.before is not None:
            trees["before"] = stack.enter_context(worktree(args.before, folder / "before"))
        servers: dict[str, Server] = {}
        for name, tree in trees.items():
            servers[name] = Server(tree, source, folder / f"{name}.log")
            stack.callback(servers[name].close)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        version = browser.version
        # The first seconds of a server are its own start.
        alone = {name: idle(server, 2 * args.seconds) for name, server in servers.items()}
        rows = []
        for size in SIZES:
            for view in views_of(ROOT):
                for name, server in servers.items():
                    if view.name in server.views:
                        row = measure(browser, server, view, size, args.seconds)
                        rows.append({"revision": name, **row})
                        print(json.dumps(rows[-1]), file=sys.stderr)
        browser.close()
        commits = {
            name: subprocess.run(
                ["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True
            ).stdout.strip()
            for name, tree in trees.items()
        }
    info = load_engine().info
    result = {
        "rows": rows,
        "server_share_without_viewer": alone,
        "seconds": args.seconds,
        "commits": commits,
        "browser": f"Chromium {version}, without a screen and a graphics card",
        "method": {
            "frames": f"times of requestAnimationFrame over {args.seconds:g} s; late: more than "
            f"{LATE_MS:g} ms after the one before",
            "script": "time of the page's own code in a frame",
            "shares": "processor time of the page's process, of the browser's GPU process, which "
            "draws in software here, and of the server, which also analyses the music; of a core",
            "order": "view by view; the revisions in turn, with both servers running",
            "audio": "the built-in demo" if args.input is None else args.input.name,
        },
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "niceness": os.nice(0),
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
