"""Fits a law to runs, with intervals, or says why these runs cannot carry it.

Example: fit_law(points, "loss_text", ("N", "D")).numbers()["alpha"] -> {"value": 0.341, "low": 0.322, "high": 0.362}
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import ConfigError
from lst_jax.laws import bootstrap, law, solver
from lst_jax.laws.points import Point, Refused, logs, spaced, systems_of

FIELD = {"N": "parameters", "D": "tokens", "C": "flops"}
PLANE = ("N", "D")
LINE = ("C",)
LEAST_VALUES = {"N": 4, "D": 4, "C": 5}  # different ones of a variable: a power above a floor has three numbers
LEAST_FREEDOM = 2  # runs beyond the law's numbers
ALONG_A_LINE = 0.2  # standard deviation of log D about its line in log N below which A and B are not told apart
COST_ERROR = 0.25
FAR = 3.0
AT_ONCE = 1_000_000  # runs times repeats that are refitted together: some 500 MB


@dataclasses.dataclass(frozen=True)
class LawFit:
    """A law, the runs that it was fitted to, and θ of the fit and of its bootstrap repeats."""

    law: law.Law
    points: tuple[Point, ...]
    measure: str
    theta: np.ndarray
    draws: np.ndarray
    residuals: np.ndarray

    @property
    def scatter(self) -> float:
        """Relative standard deviation of a run's loss about the law."""
        return bootstrap.scatter(self.residuals, self.law.params)

    @functools.cached_property
    def cost(self) -> law.Cost:
        """How FLOPs follow from N and D in these runs, of one system."""
        return law.Cost.of(*(logs(self.points, FIELD[v]) for v in "NDC"))

    @property
    def has_optimum(self) -> bool:
        """Whether N* and D* of a budget can be said."""
        return self.law.variables == PLANE and len(self.law.systems) == 1 and self.cost.worst <= COST_ERROR

    def numbers(self) -> dict[str, dict[str, float]]:
        """Every number of the law with its interval; N*, D* and L* at the largest budget of the runs."""
        functions = self.law.constants()
        if self.has_optimum:
            at = np.array([logs(self.points, "flops").max()])
            u = self.cost.u
            functions |= {
                "n_opt_exponent": lambda t: t[:, 2] / (t[:, 1] + u * t[:, 2]),
                "d_opt_exponent": lambda t: t[:, 1] / (t[:, 1] + u * t[:, 2]),
                "n_opt": lambda t: np.exp(self.law.optimum(t, 0, self.cost, at)[:, 0, 0]),
                "d_opt": lambda t: np.exp(self.law.optimum(t, 0, self.cost, at)[:, 0, 1]),
                "loss_opt": lambda t: np.exp(self.log_frontier(t, at)[:, 0]),
            }
        return {name: bootstrap.number(of, self.theta, self.draws) for name, of in functions.items()}

    def log_frontier(self, theta: np.ndarray, log_c: np.ndarray) -> np.ndarray:
        """log L [repeats, budgets]: of the best N and D where the law has them, else of L(C)."""
        if self.law.variables == LINE:
            return self.law.log_loss(theta, 0, log_c[:, None])
        return self.law.log_loss(theta, 0, self.law.optimum(theta, 0, self.cost, log_c))

    def log_compute(self, theta: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
        """log C [repeats, losses] at which the frontier comes down to losses; inf where it stays above one.

        Along a line and at best N and D alike the frontier is E + K·C^-γ: with γ = α·β / (α + u·β) in the latter case,
        as both terms are the same power of C there.
        """
        exponent = theta[:, 1]
        if self.law.variables == PLANE:
            exponent = theta[:, 1] * theta[:, 2] / (theta[:, 1] + self.cost.u * theta[:, 2])
        floor = np.exp(theta[:, :1])
        at = logs(self.points, "flops").mean(keepdims=True)
        above = np.exp(self.log_frontier(theta, at)) - floor
        left = np.exp(log_loss) - floor
        return np.where(left > 0, at + np.log(above / np.where(left > 0, left, 1)) / exponent[:, None], np.inf)

    def span(self) -> tuple[float, float]:
        """Least and largest log C at which the frontier lies within the runs' C, and N* and D* within their N and D.

        There is no such place where the first is not below the second.
        """
        log_c = logs(self.points, "flops")
        low, high = ends = np.array([log_c.min(), log_c.max()])
        if self.law.variables == PLANE:
            best = self.law.optimum(self.theta[None], 0, self.cost, ends)[0]
            for v, name in enumerate(PLANE):
                values = logs(self.points, FIELD[name])
                slope = (best[1, v] - best[0, v]) / (ends[1] - ends[0])
                low = max(low, ends[0] + (values.min() - best[0, v]) / slope)
                high = min(high, ends[0] + (values.max() - best[0, v]) / slope)
        return float(low), float(high)

    def predict(self, parameters: float, tokens: float) -> dict[str, float]:
        """The law's loss at N, D (not a single run's, which scatters about it). Raises: Refused where it has none."""
        where = np.log([[parameters, tokens]])
        if self.law.variables == LINE:
            off = _line(self.points)(where[:, 0])[0] - where[0, 1]
            if abs(off) > ALONG_A_LINE:
                raise Refused(
                    f"L(C) holds where N and D move as in its runs; at N={parameters:.3g} that is "
                    f"D={np.exp(off) * tokens:.3g}"
                )
            where = self.cost.log_flops(where[:, 0], where[:, 1])[:, None]
        return bootstrap.number(lambda t: np.exp(self.law.log_loss(t, 0, where)[:, 0]), self.theta, self.draws)

    def best_at(self, budget: float) -> dict[str, Any]:
        """The compute-optimal run of C = `budget`: N, D, tokens per parameter and loss. Raises: Refused."""
        if self.law.variables == LINE:
            raise Refused("N and D move together in these runs, so they do not say which N is best")
        if not self.has_optimum:
            off = np.abs(self.cost.log_flops(*(logs(self.points, FIELD[v]) for v in "ND")) - logs(self.points, "flops"))
            raise Refused(
                f"C does not follow from N and D within {COST_ERROR:.0%}, least of all in {self.points[off.argmax()].run}; "
                "correct or leave out such runs"
            )
        log_c = np.log([budget])
        functions = {
            "n_opt": lambda t: np.exp(self.law.optimum(t, 0, self.cost, log_c)[:, 0, 0]),
            "d_opt": lambda t: np.exp(self.law.optimum(t, 0, self.cost, log_c)[:, 0, 1]),
            "tokens_per_parameter": lambda t: np.exp(np.diff(self.law.optimum(t, 0, self.cost, log_c)[:, 0])[:, 0]),
            "loss_opt": lambda t: np.exp(self.log_frontier(t, log_c)[:, 0]),
        }
        return {name: bootstrap.number(of, self.theta, self.draws) for name, of in functions.items()}

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        worst = int(np.argmax(np.abs(self.residuals)))
        described = {
            "params": self.law.params,
            "scatter": self.scatter,
            "largest_residual": {"run": self.points[worst].run, "relative": float(np.expm1(self.residuals[worst]))},
            "numbers": self.numbers(),
        }
        if len(self.law.systems) == 1:
            described["cost"] = {
                "kappa": float(np.exp(self.cost.log_kappa)),
                "u": self.cost.u,
                "worst": self.cost.worst,
            }
            described["largest_flops"] = max(p.flops for p in self.points)
        return described


def fit_law(
    points: Sequence[Point],
    measure: str,
    variables: tuple[str, ...] = PLANE,
    repeats: int = bootstrap.REPEATS,
    seed: int = 0,
) -> LawFit:
    """The law of a loss over the runs that have it; of several systems jointly, where there are several.

    Raises: Refused.
    """
    points = tuple(p for p in points if measure in p.measures)
    systems = tuple(systems_of(points))
    for system in systems:
        _check([p for p in points if p.system == system], system, measure, variables)
    x = np.stack([logs(points, FIELD[v]) for v in variables], axis=-1)
    shape = law.Law(variables, systems, tuple(map(float, x.mean(0))))
    if len(points) < shape.params + LEAST_FREEDOM:
        raise Refused(
            f"{len(points)} runs for a law of {shape.params} numbers; give at least {shape.params + LEAST_FREEDOM}"
        )
    design = shape.design(np.array([systems.index(p.system) for p in points]), x)
    target = logs(points, measure)
    box = shape.box(target)
    theta = solver.minimise(design, target, shape.starts(target), box)
    fitted = solver.evaluate(design, theta[None])[0][0]
    simulated = bootstrap.simulate(fitted, target - fitted, shape.params, repeats, np.random.default_rng(seed))
    draws = _refitted(design, simulated, theta, box)
    _check_bounded(shape, theta, draws, box)
    return LawFit(shape, points, measure, theta, draws, target - fitted)


def check_near(points: Sequence[Point], parameters: float, tokens: float) -> None:
    """Refuses a prediction beyond FAR times the largest run of a system in N, D or C. Raises: ConfigError."""
    cost = law.Cost.of(*(logs(points, FIELD[v]) for v in "NDC"))
    asked = {"N": parameters, "D": tokens, "C": float(np.exp(cost.log_flops(np.log(parameters), np.log(tokens))))}
    for name, value in asked.items():
        largest = float(np.exp(logs(points, FIELD[name]).max()))
        if value > FAR * largest:
            raise ConfigError(
                f"--predict {parameters:g},{tokens:g}: {name}={value:.3g} is {value / largest:.1f} times "
                f"the largest of {points[0].system} ({largest:.3g}), over {FAR:g} times; add --far to "
                "extrapolate all the same"
            )


def check_budget_near(points: Sequence[Point], budget: float) -> None:
    """Refuses a budget beyond FAR times the largest C of a system. Raises: ConfigError."""
    largest = float(np.exp(logs(points, "flops").max()))
    if budget > FAR * largest:
        raise ConfigError(
            f"--at {budget:g}: is {budget / largest:.1f} times the largest C of {points[0].system} ({largest:.3g}), over "
            f"{FAR:g} times; add --far to extrapolate all the same"
        )


def moves_together(points: Sequence[Point]) -> bool:
    """Whether log D is so close to a line in log N that the terms of N and D cannot be told apart."""
    off = logs(points, "tokens") - _line(points)(logs(points, "parameters"))
    return bool(off.std() < ALONG_A_LINE)


def _line(points: Sequence[Point]) -> np.poly1d:
    log_n = logs(points, "parameters")
    return np.poly1d(np.polyfit(log_n, logs(points, "tokens"), int(len(spaced(log_n)) > 1)))


def _check(points: Sequence[Point], system: str, measure: str, variables: tuple[str, ...]) -> None:
    for name in variables:
        values = len(spaced(logs(points, FIELD[name])))
        if values < LEAST_VALUES[name]:
            raise Refused(
                f"{system} has {measure} at {values} different {name}; give runs at {LEAST_VALUES[name]} or "
                f"more, {FIELD[name]} at least 5% apart"
            )
    together = moves_together(points)
    if variables == PLANE and together:
        raise Refused(
            f"N and D of {system} move together, so A·N^-alpha and B·D^-beta cannot be told apart; add runs "
            "of other tokens per parameter"
        )
    if variables == LINE and not together:
        raise Refused(
            f"N and D of {system} do not move together, so its losses are no function of C alone; give all "
            "systems the same kind of family"
        )


def _refitted(design: np.ndarray, targets: np.ndarray, theta: np.ndarray, box: solver.Box) -> np.ndarray:
    """θ of every repeat, from θ of the fit on: [repeats, params]."""
    parts = np.array_split(targets, -(-targets.size // AT_ONCE))
    return np.concatenate(
        [solver.descend(design, part, np.broadcast_to(theta, (len(part), len(theta))), box)[0] for part in parts]
    )


def _check_bounded(shape: law.Law, theta: np.ndarray, draws: np.ndarray, box: solver.Box) -> None:
    """Where repeats end at a limit of an exponent, the interval would be our choice of limits, not the runs'."""
    for v, name in enumerate(shape.variables, 1):
        low, high = (np.isclose(draws[:, v], wall[v], rtol=1e-6).mean() for wall in (box.low, box.high))
        if max(low, high) > (1 - bootstrap.LEVEL) / 2:
            raise Refused(
                f"{law.EXPONENT[name]}={theta[v]:.3g} is not bounded {'below' if low > high else 'above'}: "
                f"{max(low, high):.0%} of the bootstrap repeats end at its limit; add runs, sizes further "
                "apart, or less noise"
            )
