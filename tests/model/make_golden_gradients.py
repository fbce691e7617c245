"""Writes golden_gradients.npz: loss and gradients of the dense float64 model. Run where torch is installed:

PYTHONPATH=.:tests/model python tests/model/make_golden_gradients.py
"""

import gradient_cases
import numpy as np
from test_gradients_torch import torch_results

arrays = {}
for name in gradient_cases.GOLDEN_CASES:
    _, loss, grads = torch_results(gradient_cases.CASES[name])
    arrays[f"{name}/loss"] = np.float64(loss)
    arrays |= {f"{name}/{path}": gradient.astype(np.float32) for path, gradient in grads.items()}
np.savez_compressed(gradient_cases.GOLDEN, **arrays)
