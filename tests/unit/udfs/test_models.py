"""Models: the directory that proves its content, every way to refuse one, and what the ensemble makes of one."""
from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.packed import Text
from sigmaflow.errors import UserError
from sigmaflow.learning import blended
from tests.kit import run, same, state
from tests.models import Example, example
from udfs import models, profiles
from udfs.models import Models
from udfs.profiles import Alphas
from udfs.stages import ensemble

DEFAULT = profiles.DEFAULT


@pytest.fixture(scope="module")
def made() -> Example:
    return example()


@pytest.fixture(scope="module")
def signals(made: Example) -> dict[str, Any]:
    return {name: held for name, held in made.signals.items() if name != "slots"}


def known(made: Example) -> Models:
    return Models(DEFAULT, made.folder, made.digest)


# ---------------------------------------------------------------------------------------------------------- directory


def copied(made: Example, folder: Path, change: Callable[[Path], None]) -> str:
    """A copy of the model after a change; its digest as the folder tells it."""
    shutil.copytree(made.folder / made.digest, folder / made.digest)
    change(folder / made.digest)
    return made.digest


def renamed(made: Example, folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """A copy with another model.json, in the folder that its digest names."""
    about = models.describe(made.folder, made.digest)
    change(about)
    texts = {name: (made.folder / made.digest / name).read_text() for name in about.pop("files")}
    number = about.pop("format")
    digest = models.save(folder, about, texts)
    if number != models.FORMAT:  # save writes its own
        path = folder / digest / "model.json"
        packed = path.read_bytes().replace(b'"format": 1', f'"format": {number}'.encode())
        path.write_bytes(packed)
        digest = models._sha(packed)[:16]
        path.parent.rename(folder / digest)
    return digest


def test_what_was_saved_is_loaded(made: Example) -> None:
    model = models.load(made.folder, made.digest)
    assert model.about["inputs"] == models.inputs(DEFAULT.alphas.names)
    assert models.known_in(made.folder) == [made.digest]
    assert models.save(made.folder, {k: v for k, v in model.about.items() if k not in ("files", "format")},
                       {n: (made.folder / made.digest / n).read_text() for n in model.about["files"]}) == made.digest


def test_a_missing_model_names_those_there_are(made: Example) -> None:
    with pytest.raises(UserError, match=f"not there; there is {made.digest}"):
        models.load(made.folder, "0123456789abcdef")
    with pytest.raises(UserError, match="there is none"):
        models.load(made.folder / "absent", made.digest)


@pytest.mark.parametrize("digest", ["..", "../x", "0123", "z" * 16, "0" * 17])
def test_what_is_no_digest_is_refused(made: Example, digest: str) -> None:
    with pytest.raises(UserError, match="16 hexadecimal digits"):
        models.load(made.folder, digest)


@pytest.mark.parametrize("change", [
    lambda f: (f / "model.json").write_text("{}"), lambda f: (f / "model.json").write_bytes(b"\xff\x00"),
    lambda f: (f / "model.json").write_text((f / "model.json").read_text().replace("default", "defeult")),
    lambda f: (f / "q50.txt").unlink(), lambda f: (f / "q05.txt").write_text((f / "q95.txt").read_text()),
    lambda f: (f / "q25.txt").write_bytes((f / "q25.txt").read_bytes()[:-100]),
])
def test_a_changed_model_is_refused(made: Example, tmp_path: Path, change: Callable[[Path], None]) -> None:
    digest = copied(made, tmp_path, change)
    with pytest.raises(UserError, match="changed"):
        models.load(tmp_path, digest)


def test_another_format_is_refused(made: Example, tmp_path: Path) -> None:
    digest = renamed(made, tmp_path, lambda about: about.update(format=2))
    with pytest.raises(UserError, match="format 1, but it has 2"):
        models.load(tmp_path, digest)


@pytest.mark.parametrize(("change", "says"), [
    (lambda about: about["signals"].update(alphas=["other"]), "alphas of profile default"),
    (lambda about: about["signals"].update(horizon=7), "horizon of profile default"),
    (lambda about: about["inputs"].reverse(), "this version's inputs"),
])
def test_a_model_for_other_signals_is_refused(made: Example, tmp_path: Path, change: Any, says: str) -> None:
    digest = renamed(made, tmp_path, change)
    with pytest.raises(UserError, match=says):
        Models(DEFAULT, tmp_path, digest)


def test_trees_that_cannot_be_read_are_refused(made: Example, tmp_path: Path) -> None:
    about = models.describe(made.folder, made.digest)
    texts = dict.fromkeys(about.pop("files"), "no tree")
    about.pop("format")
    with pytest.raises(UserError, match="numerical LightGBM trees"):
        models.load(tmp_path, models.save(tmp_path, about, texts))


def test_a_profile_that_cannot_run_one_is_refused(made: Example) -> None:
    with pytest.raises(UserError, match="alphas of profile reference"):
        Models(profiles.REFERENCE, made.folder, made.digest)
    fewer = DEFAULT.model_copy(update={"alphas": Alphas(names=DEFAULT.alphas.names[:2])})
    with pytest.raises(UserError, match="alphas of profile default"):
        Models(fewer, made.folder, made.digest)
    normal = DEFAULT.model_copy(update={"ensemble": DEFAULT.ensemble.model_copy(update={"intervals": "normal"})})
    with pytest.raises(UserError, match="adaptive intervals"):
        Models(normal, made.folder, made.digest)


# ------------------------------------------------------------------------------------------------------------ numbers


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "0123456789abcdef", "ffffffffffffffff", "8000000000000000"]), max_size=9))
def test_numbers_and_digests_are_the_same_thing(digests: list[str]) -> None:
    found = models.numbers(Text.table([d.encode() for d in digests]))
    assert found.tolist() == [models.number(d) for d in digests]
    texts = models.texts(found)
    assert [texts.at(row).decode() for row in range(len(digests))] == digests


def test_models_travel_with_the_plan(made: Example, signals: dict[str, Any]) -> None:
    elsewhere = pickle.loads(pickle.dumps(known(made)))
    elsewhere.folder = Path("nowhere")
    same(run(ensemble.stage(DEFAULT, elsewhere), signals), run(ensemble.stage(DEFAULT, known(made)), signals))


# ----------------------------------------------------------------------------------------------------------- ensemble


def test_a_model_takes_the_place_of_the_blend(made: Example, signals: dict[str, Any]) -> None:
    fallback, found = blended(DEFAULT, made.signals), run(ensemble.stage(DEFAULT, known(made)), signals)
    assert set(found["model"].tolist()) == {models.number(made.digest)}
    assert not fallback["model"].any()
    model = models.load(made.folder, made.digest)
    said = model.predict(models.matrix(made.signals, fallback["sigma"], DEFAULT.alphas.horizon))
    np.testing.assert_array_equal(found["mu"], said.mean * fallback["sigma"])
    np.testing.assert_array_equal(found["q50"], said.quantiles[:, 2] * fallback["sigma"])
    np.testing.assert_array_equal(found["p_up"], said.p_up)
    np.testing.assert_array_equal(found["weights"], fallback["weights"])
    assert (found["q05"] <= found["q50"]).all() and (found["q50"] <= found["q95"]).all()
    assert all(np.isfinite(found[name]).all() for name in ensemble.OUT)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 2_999), max_size=40), st.integers(0, 2**32))
def test_cuts_and_changes_of_the_model_are_replayable(signals: dict[str, Any], made: Example, cuts: list[int],
                                                      seed: int) -> None:
    rows = {name: held[:3_000] for name, held in signals.items()}
    at = np.sort(np.random.default_rng(seed).integers(0, 3_000, 4))
    rows["model"] = np.where(np.searchsorted(at, np.arange(3_000)) % 2, models.number(made.digest), 0)
    whole = run(ensemble.stage(DEFAULT, known(made)), rows)
    np.testing.assert_array_equal(whole["model"], rows["model"])
    same(run(ensemble.stage(DEFAULT, Models(DEFAULT, made.folder)), rows, sorted(set(cuts))), whole)


def test_before_a_change_nothing_knows_of_it(signals: dict[str, Any], made: Example) -> None:
    rows = {name: held[:3_000] for name, held in signals.items()}
    rows["model"] = np.where(np.arange(3_000) < 2_000, 0, models.number(made.digest))
    changed = run(ensemble.stage(DEFAULT, known(made)), rows)
    plain = run(ensemble.stage(DEFAULT), {name: held[:2_000] for name, held in signals.items()})
    for name in ensemble.OUT:
        np.testing.assert_array_equal(changed[name][:2_000], plain[name])


def test_alphas_that_all_agree_and_prices_that_stand_still_give_numbers(made: Example) -> None:
    rows, count = 600, len(DEFAULT.alphas.names)
    zeros = np.zeros((rows, count))
    still = {"slot": np.zeros(rows, int), "mid": np.full(rows, 9.0), "bid": np.full(rows, 9.0),
             "ask": np.full(rows, 9.0), "regime": np.ones(rows, int), "volatility": np.zeros(rows),
             "history": np.arange(rows), "signals.count": np.full(rows, count), "signals.score": zeros,
             "signals.mu": zeros, "signals.sigma": zeros, "signals.confidence": zeros + 0.5,
             "signals.horizon": zeros + 20}
    found = run(ensemble.stage(DEFAULT, known(made)), still, held=state(ensemble.stage(DEFAULT)))
    assert all(np.isfinite(found[name]).all() for name in ensemble.OUT)
    assert not found["sigma"].any() and not found["mu"].any()


def test_a_model_in_force_under_normal_intervals_is_refused(signals: dict[str, Any]) -> None:
    normal = DEFAULT.model_copy(update={"ensemble": DEFAULT.ensemble.model_copy(update={"intervals": "normal"})})
    with pytest.raises(ValueError, match="adaptive intervals to run a model"):
        run(ensemble.stage(normal), signals | {"model": np.ones(len(signals["slot"]), np.int64)})


def test_model_json_tells_where_it_comes_from(made: Example) -> None:
    about = json.loads((made.folder / made.digest / "model.json").read_text())
    assert about["profile_digest"] == DEFAULT.digest
    assert about["source"] == "a test"
    assert about["span"]["ticks"] == len(made.signals["slot"])
    assert about["metrics"][0]["model"]["rows"] == about["metrics"][0]["fallback"]["rows"] > 0
