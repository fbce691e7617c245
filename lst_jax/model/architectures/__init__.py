"""The model architectures: one class each, which owns everything that depends on `model.architecture`."""
