"""TensorRT on an NVIDIA card, by either of its packages: `tensorrt-rtx` or `tensorrt`."""
