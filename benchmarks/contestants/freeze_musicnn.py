"""Makes the graph file for essentia from the PyPI package `musicnn`.

essentia's own model files are not on PyPI. This is the same network by the same authors with their
published weights: MSD_musicnn of musicnn 0.1.0, built for inference.

python freeze_musicnn.py FOLDER_OF_THE_PACKAGE OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow.compat.v1 as tf

FRAMES, BANDS, TAGS = 187, 96, 50
NAME = "MSD_musicnn"

source, target = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(source))

from musicnn.models import define_model  # noqa: E402

tf.disable_eager_execution()
with tf.Session() as session:
    with tf.name_scope("model"):
        patches = tf.placeholder(tf.float32, [None, FRAMES, BANDS])
        outputs = define_model(patches, False, NAME, TAGS)
        tf.sigmoid(outputs[0])
    session.run(tf.global_variables_initializer())
    tf.train.Saver().restore(session, f"{source}/musicnn/{NAME}/")
    frozen = tf.graph_util.convert_variables_to_constants(
        session,
        tf.get_default_graph().as_graph_def(),
        ["model/dense/BiasAdd", "model/Sigmoid"],
    )
target.write_bytes(frozen.SerializeToString())
