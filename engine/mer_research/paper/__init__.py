"""The paper's networks, baselines, features and evaluation protocols.

The paper is Qiu, Lin, Lin: *Music audio emotion regression using the fusion of convolutional neural
networks and bidirectional long short-term memory models*, PeerJ Computer Science 2025, e3086.
"""
