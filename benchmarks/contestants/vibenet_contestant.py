"""VibeNet: its seven values of a window (among them energy and valence), as in its README."""

from __future__ import annotations

from importlib import resources
from statistics import median

import onnxruntime as ort
from common import RATE_HZ, WINDOW_S, arguments, each_second, ready, report, timed
from vibenet import load_model

audio, _ = arguments()
model = load_model()
model.predict(audio[: WINDOW_S * RATE_HZ], sr=RATE_HZ)
ready()
as_installed = each_second(
    audio[: (WINDOW_S + 5) * RATE_HZ], lambda w: model.predict(w, sr=RATE_HZ)
)
# VibeNet configures one thread but does not pass that on, which makes it slower on one core.
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
network = resources.files("vibenet.artifacts") / "efficientnet_model.onnx"
model.ort_sess = ort.InferenceSession(str(network), options)
model.predict(audio[: WINDOW_S * RATE_HZ], sr=RATE_HZ)
updates = each_second(audio, lambda window: model.predict(window, sr=RATE_HZ))
model.predict(audio, sr=RATE_HZ)
file_ms = timed(lambda: model.predict(audio, sr=RATE_HZ))
report(
    updates,
    file_ms / (len(audio) / RATE_HZ),
    as_installed_update_ms=round(median(as_installed), 3),
)
