"""A report as PDF, printed by a browser of the system without a window."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from realtime_mer.errors import UserError

# Chromium and what is made of it, by the names of the systems.
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_TIMEOUT_S = 120.0


def browser() -> str | None:
    """Return the path of a browser that can print; None if there is none."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def require_browser() -> str:
    """Return the path of a browser that can print.

    Raises:
        UserError: there is none.
    """
    found = browser()
    if found is None:
        raise UserError(
            "--pdf needs Chromium, Chrome or Edge, and none is installed; install one, or open the "
            "HTML page in any browser and print it to a file"
        )
    return found


def write_pdf(page: str, path: Path, program: str, *, timeout_s: float = _TIMEOUT_S) -> None:
    """Print a page into a file. The browser's profile is temporary.

    Args:
        page: HTML.
        path: of the PDF.
        program: path of the browser.
        timeout_s: after it the browser is ended.

    Raises:
        UserError: the browser did not print it.
        OSError: the file cannot be written.
    """
    # Beside the PDF, because the browser of a snap has a /tmp of its own.
    with tempfile.TemporaryDirectory(
        prefix="realtime-mer-", dir=path.absolute().parent, ignore_cleanup_errors=True
    ) as folder:
        source = Path(folder) / "report.html"
        source.write_text(page, encoding="utf-8")
        arguments = [
            program,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={folder}/report.pdf",
            source.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.insert(1, "--no-sandbox")  # Chromium refuses its sandbox to root
        printed = _run(arguments, timeout_s)
        try:
            shutil.copyfile(Path(folder) / "report.pdf", path)
        except FileNotFoundError:
            because = f": {printed.splitlines()[-1]}" if printed.strip() else ""
            raise UserError(
                f"{program} wrote no PDF{because}; open the HTML page in a browser and print it"
            ) from None


def _run(arguments: list[str], timeout_s: float) -> str:
    """Run the browser and all its processes to their end, and return what it said.

    Raises:
        UserError: it does not start or end.
    """
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{arguments[0]} cannot be started ({error.strerror})") from error
    with process:
        try:
            return process.communicate(timeout=timeout_s)[1]
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{arguments[0]} did not print the page within {timeout_s:g} s; try again, or open "
                "the HTML page in a browser and print it"
            ) from error
        finally:
            if process.poll() is None:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a browser that still runs, with the processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
