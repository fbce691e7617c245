"""The names that `optim.optimizer` and `optim.schedule` may have, for programs that check a recipe without JAX.

The members live in `lst_jax.step.optimizers` and `lst_jax.step.schedules`; registering one there adds its name here.
"""

OPTIMIZERS = {"adamw", "muon"}
SCHEDULES = {"cosine", "wsd"}
