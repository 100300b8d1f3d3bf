"""essentia: the MusiCNN embedding of a window, which is the input of its mood models."""

from __future__ import annotations

from common import RATE_HZ, WINDOW_S, arguments, each_second, ready, report, timed
from essentia.standard import TensorflowPredictMusiCNN

audio, folder = arguments()
embed = TensorflowPredictMusiCNN(
    graphFilename=str(folder / "musicnn.pb"), output="model/dense/BiasAdd"
)
shape = embed(audio[: WINDOW_S * RATE_HZ]).shape
assert shape[1] == 200, shape
ready()
updates = each_second(audio, embed)
embed(audio)
file_ms = timed(embed, audio)
report(updates, file_ms / (len(audio) / RATE_HZ), patches_in_a_window=shape[0])
