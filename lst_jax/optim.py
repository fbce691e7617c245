"""AdamW, warm-up, cosine and clipping (paper §6)."""

import optax

from lst_jax.config import OptimConfig


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 over `warmup_steps`, then cosine to `final_lr_ratio` of the peak at `steps`.

    Update number n (0-based) uses the value at n + 1, so the first update already moves.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0, peak_value=config.peak_lr, warmup_steps=config.warmup_steps, decay_steps=steps,
        end_value=config.peak_lr * config.final_lr_ratio)
    return lambda count: schedule(count + 1)


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW with weight decay on every parameter, as the released code does."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(learning_rate(config, steps), b1=config.beta1, b2=config.beta2, eps=config.eps,
                    weight_decay=config.weight_decay),
    )
