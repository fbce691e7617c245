"""The laws as log-sum-exp of terms that are linear in θ, and what follows from θ.

    L(N, D) = E + A·N^-α + B·D^-β                 variables ("N", "D")
    L(C)    = E + K·C^-γ                          variables ("C",), for runs along one line of N and D

Several systems may share E and the exponents, each with coefficients of its own: A_s·N^-α = A·(m_s·N)^-α. Only ratios
of multipliers can be told from losses, so the first system has m = 1, and m_s = 2 says that system s makes as much of N
parameters as the first one makes of 2N; likewise for tokens and for compute. Multipliers of both N and D need runs of
each system whose N and D do not move together; else there is one of C. E and exponents being shared, a difference
of floors or slopes is read as one of multipliers: a scatter well above that of the systems' own fits gives it away.

θ = [log E, exponents (one a variable), coefficients (variables × systems)], the latter at the centre of the runs' logs,
where they hardly correlate with the exponents. Letters as in `solver`; all functions take θ as [repeats, params].
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import scipy.special
from jaxtyping import Float, Int

from lst_jax.laws import solver
from lst_jax.laws.points import spaced

COEFFICIENT = {"N": "A", "D": "B", "C": "K"}
EXPONENT = {"N": "alpha", "D": "beta", "C": "gamma"}
MULTIPLIED = {"N": "parameters", "D": "tokens", "C": "compute"}
EXPONENT_LIMITS = (0.005, 4.0)
START_EXPONENTS = (0.1, 0.25, 0.5, 0.9, 1.5)
START_FLOORS = (0.05, 0.3, 0.6, 0.8, 0.95)  # E over the least loss
START_SHARES = (0.15, 0.5, 0.85)  # of the first term in what is above E


@dataclasses.dataclass(frozen=True)
class Cost:
    """C = κ·N^u·D: how the FLOPs of a family's runs follow from size and tokens; u = 1 where C is 6·N·D.

    For a given model FLOPs are proportional to tokens; u differs from 1 by embeddings and attention.
    """

    log_kappa: float
    u: float
    worst: float  # largest relative error over the runs

    @classmethod
    def of(
        cls, log_n: Float[np.ndarray, "runs"], log_d: Float[np.ndarray, "runs"], log_c: Float[np.ndarray, "runs"]
    ) -> "Cost":
        """Least squares over the runs; u = 1 where all are of one size."""
        one_size = len(spaced(log_n)) == 1
        u, log_kappa = (1.0, (log_c - log_d - log_n).mean()) if one_size else np.polyfit(log_n, log_c - log_d, 1)
        return cls(float(log_kappa), float(u), float(np.expm1(np.abs(log_kappa + u * log_n + log_d - log_c).max())))

    def log_flops(self, log_n: float | np.ndarray, log_d: float | np.ndarray) -> float | np.ndarray:
        """log C."""
        return self.log_kappa + self.u * log_n + log_d


@dataclasses.dataclass(frozen=True)
class Law:
    """Which variables and systems a law has; `centre` is a log of each variable."""

    variables: tuple[str, ...]
    systems: tuple[str, ...]
    centre: tuple[float, ...]

    @property
    def params(self) -> int:
        """Numbers in θ."""
        return 1 + len(self.variables) * (1 + len(self.systems))

    def design(
        self, system: Int[np.ndarray, "runs"], logs: Float[np.ndarray, "runs vars"]
    ) -> Float[np.ndarray, "runs terms params"]:
        """`solver`'s design of runs, given the index of each one's system and the logs of its variables."""
        variables = len(self.variables)
        design = np.zeros((len(logs), 1 + variables, self.params))
        design[:, 0, 0] = 1
        for v in range(variables):
            design[:, 1 + v, 1 + v] = self.centre[v] - logs[:, v]
            design[np.arange(len(logs)), 1 + v, self._coefficient(v, system)] = 1
        return design

    def box(self, log_loss: Float[np.ndarray, "runs"]) -> solver.Box:
        """Where θ is looked for: E below every loss, exponents in EXPONENT_LIMITS."""
        least, variables = log_loss.min(), len(self.variables)
        coefficients = self.params - 1 - variables
        return solver.Box(
            np.array([least - 14] + [EXPONENT_LIMITS[0]] * variables + [least - 25] * coefficients),
            np.array([least] + [EXPONENT_LIMITS[1]] * variables + [least + 15] * coefficients),
        )

    def starts(self, log_loss: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "starts params"]:
        """A grid over exponents, E and the shares of the terms, the same coefficients for all systems."""
        variables, systems = len(self.variables), len(self.systems)
        shares = START_SHARES if variables == 2 else (1.0,)
        starts = []
        for floor, share, *exponents in itertools.product(START_FLOORS, shares, *[START_EXPONENTS] * variables):
            bottom = floor * np.exp(log_loss.min())
            rest = np.exp(np.median(log_loss)) - bottom
            terms = np.log([rest * share, rest * (1 - share)][:variables])
            starts.append([np.log(bottom), *exponents, *np.repeat(terms, systems)])
        return np.array(starts)

    def log_loss(
        self, theta: Float[np.ndarray, "repeats params"], system: int, logs: Float[np.ndarray, "... vars"]
    ) -> Float[np.ndarray, "repeats ..."]:
        """log L of a system at points: the same [..., vars] for every repeat, or [repeats, ..., vars]."""
        many = np.broadcast_to(logs, (len(theta), *logs.shape)) if logs.ndim < 3 else logs
        terms = [np.broadcast_to(theta[:, :1], many.shape[:2])]
        for v in range(len(self.variables)):
            terms.append(
                theta[:, self._coefficient(v, system), None] - theta[:, 1 + v, None] * (many[..., v] - self.centre[v])
            )
        return scipy.special.logsumexp(np.stack(terms), axis=0)

    def constants(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """Functions of θ: E, coefficients of the first system, exponents, multipliers of the others."""
        functions = {"E": lambda theta: np.exp(theta[:, 0])}
        for v, name in enumerate(self.variables):
            functions[COEFFICIENT[name]] = lambda theta, v=v: np.exp(self._log_coefficient(theta, v, 0))
            functions[EXPONENT[name]] = lambda theta, v=v: theta[:, 1 + v]
        for (s, system), (v, name) in itertools.product(enumerate(self.systems), enumerate(self.variables)):
            if s > 0:
                functions[f"{MULTIPLIED[name]}_multiplier/{system}"] = lambda theta, s=s, v=v: np.exp(
                    (theta[:, self._coefficient(v, 0)] - theta[:, self._coefficient(v, s)]) / theta[:, 1 + v]
                )
        return functions

    def optimum(
        self, theta: Float[np.ndarray, "repeats params"], system: int, cost: Cost, log_c: Float[np.ndarray, "budgets"]
    ) -> Float[np.ndarray, "repeats budgets vars"]:
        """log N* and log D* that minimise L(N, D) at each budget κ·N^u·D = C.

        Setting the derivative along the budget to zero: α·A·N^-α = u·β·B·D^-β.
        """
        assert self.variables == ("N", "D")
        alpha, beta = theta[:, 1], theta[:, 2]
        ratio = (
            np.log(alpha / (cost.u * beta))
            + self._log_coefficient(theta, 0, system)
            - self._log_coefficient(theta, 1, system)
        )
        log_n = (ratio[:, None] + beta[:, None] * (log_c - cost.log_kappa)) / (alpha + cost.u * beta)[:, None]
        return np.stack([log_n, log_c - cost.log_kappa - cost.u * log_n], axis=-1)

    def _coefficient(self, v: int, system: int | np.ndarray) -> int | np.ndarray:
        return 1 + len(self.variables) + v * len(self.systems) + system

    def _log_coefficient(self, theta: np.ndarray, v: int, system: int) -> np.ndarray:
        return theta[:, self._coefficient(v, system)] + theta[:, 1 + v] * self.centre[v]
