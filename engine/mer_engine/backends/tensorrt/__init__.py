"""TensorRT on an NVIDIA card, with the package `tensorrt-rtx` or `tensorrt`.

`shapes` has the shapes of calls and the layout of memory, `build` compiles a model, `plan` stores
compiled engines and loads them, `engine` runs one. Only `plan.LoadedProgram` and `backends.cuda`
need a card.
"""
