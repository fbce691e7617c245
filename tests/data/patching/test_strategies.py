import pathlib
import re

import numpy as np
import pytest

import lst_jax
from lst_jax.config import PatchingConfig
from lst_jax.data.patching import STRATEGIES, run_without_words, strategy_of


def bound(strategy, tau1=1, tau2=2, final=0.0, aligned_to="word", silence="separate"):
    return strategy_of(PatchingConfig(strategy, 4, aligned_to, silence, 0.0, tau1, tau2, final))


@pytest.mark.parametrize(
    "step, probability",
    [(0, 1.0), (99, 1.0), (100, 1.0), (101, 0.995), (200, 0.5), (299, 0.005), (300, 0.0), (10**6, 0.0)],
)
def test_the_curriculum_is_exactly_the_papers(step, probability):
    assert bound("curriculum", 100, 300).aligned_probability(step) == pytest.approx(probability, abs=1e-12)


def test_a_curriculum_may_switch_at_once():
    curriculum = bound("curriculum", 5, 5)
    assert [curriculum.aligned_probability(u) for u in (4, 5)] == [1.0, 0.0]


@pytest.mark.parametrize("strategy, probability", [("static", 0.0), ("aligned", 1.0), ("mixed", 0.5)])
def test_other_strategies_do_not_depend_on_the_step(strategy, probability):
    assert {bound(strategy, 1, 2).aligned_probability(u) for u in range(4)} == {probability}


@pytest.mark.parametrize(
    "strategy, step, share",
    [
        ("static", 0, 0),
        ("aligned", 0, 1),
        ("mixed", 0, 0.5),
        ("curriculum", 1, 1),
        ("curriculum", 25, 0.75),
        ("curriculum", 40, 0),
    ],
)
def test_documents_are_aligned_as_often_as_the_curriculum_says(strategy, step, share):
    rng = np.random.default_rng(0)
    names = [bound(strategy, 20, 40).draw(step, lambda: rng).name for _ in range(2000)]
    assert set(names) <= {"aligned", "static"}
    assert np.mean([n == "aligned" for n in names]) == pytest.approx(share, abs=0.03 if 0 < share < 1 else 0)


@pytest.mark.parametrize(
    "strategy, name",
    [("static", "static"), ("curriculum", "static"), ("mixed", "static"), ("aligned", "aligned"), ("none", "none")],
)
def test_inference_uses_the_static_rule_after_a_mixture(strategy, name):
    assert bound(strategy, 1, 2).inference_rule.name == name
    if strategy == "none":
        assert bound(strategy, 1, 2).draw(0, lambda: None).name == "none"


@pytest.mark.parametrize("final, late", [(0.0, 0.0), (0.5, 0.5)])
def test_a_curriculum_may_end_in_static_or_in_mixed(final, late):
    curriculum = bound("curriculum", 100, 300, final)
    assert [curriculum.aligned_probability(u) for u in (0, 99, 300, 10**6)] == [1.0, 1.0, late, late]
    assert curriculum.aligned_probability(200) == pytest.approx((1 + late) / 2)


def test_a_curriculum_says_that_a_run_is_too_short_for_it():
    curriculum = bound("curriculum", 100, 300)
    assert curriculum.unfinished(300) == bound("static", 100, 300).unfinished(1) == bound("mixed").unfinished(1) == ""
    said = curriculum.unfinished(299)
    assert said.startswith("data.patching.tau2=300: ") and "train.steps=299" in said
    assert said.endswith("set data.patching.tau1=99 and data.patching.tau2=199")
    assert bound("curriculum", 99, 199).unfinished(299) == ""


@pytest.mark.parametrize(
    "aligned_to, silence, name",
    [
        ("word", "separate", "aligned"),
        ("word", "merged", "aligned_merged"),
        ("bpe", "separate", "bpe_aligned"),
        ("bpe", "merged", "bpe_aligned_merged"),
    ],
)
def test_every_strategy_draws_the_aligned_kind_of_the_run(aligned_to, silence, name):
    rng = np.random.default_rng(0)
    for strategy in ("aligned", "mixed", "curriculum"):
        drawn = {bound(strategy, 20, 40, 0.0, aligned_to, silence).draw(30, lambda: rng).name for _ in range(50)}
        assert drawn == ({name} if strategy == "aligned" else {name, "static"})
    assert bound("aligned", aligned_to=aligned_to, silence=silence).inference_rule.name == name


def test_generation_ends_patches_by_their_size_where_it_needs_no_words():
    sizes = {name: bound(name).inference_rule.fixed_size for name in STRATEGIES}
    assert sizes == {"static": 4, "aligned": None, "mixed": 4, "curriculum": 4, "none": 1}
    for name, size in sizes.items():
        rule = bound(name).inference_rule
        assert rule.needs_words == (size is None)
        if size is not None:
            start, end = rule.boundaries(run_without_words(10))
            assert np.flatnonzero(start).tolist() == list(range(0, 10, size))
            assert np.flatnonzero(end).tolist() == list(range(size - 1, 10, size))


def test_labels_name_the_strategy_and_what_is_fixed_about_it():
    assert [bound(name).label for name in ("static", "aligned", "curriculum")] == ["static-4", "aligned", "curriculum"]


def test_only_a_curriculum_has_a_schedule():
    assert {name for name in STRATEGIES if bound(name).schedule} == {"curriculum"}
    assert bound("curriculum", 1000, 2000).schedule == "aligned patches to step 1,000, from 2,000 static ones"
    assert bound("curriculum", 10, 20, 0.5).schedule == "aligned patches to step 10, from 20 with probability 0.5"


def test_nothing_but_the_strategies_compares_their_names():
    """What depends on a strategy is asked of its object, so that a new one needs no change elsewhere."""
    package = pathlib.Path(lst_jax.__file__).parent
    compared = re.compile(r"(strategy|policy)(\.name)?\s*(==|!=|in|not in)\s*[\"'(\[{]|rule(\.name)?\s*(==|!=)\s*[\"']")
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        if "patching" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if compared.search(line)
    ]
    assert not found
