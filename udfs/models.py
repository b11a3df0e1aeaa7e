"""Trained models of the ensemble: what one predicts, the directory it is kept in, and the models that a job knows.

A model is a folder named by its digest, `models/<digest>/`, with `model.json` (what it was trained on, its inputs, the
isotonic map, metrics of every fold) and one LightGBM text file for each quantile, whose hashes are in `model.json`. The
digest is the first 16 hex digits of the SHA-256 of `model.json`, so it names the whole content; loading checks it.

In rows a model is a number: the 64 bits of its digest as a signed integer, and 0 for the fallback. It is the same in
every process and after every restart.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.packed import Text
from sigmaflow.errors import UserError
from udfs import trees
from udfs.calibration import Isotonic
from udfs.profiles import Profile
from udfs.stage import Columns

FORMAT = 1
"""Version of the folder's layout and of what the numbers in it mean."""

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
MEAN_TAILS, DEVIATION = 0.185, 3.25
"""mean = 0.63 q50 + 0.185 (q05 + q95), standard deviation = (q95 - q05) / 3.25, for any unimodal law within a few per
cent (Pearson and Tukey 1965, "Approximate means and standard deviations …")."""

STAGE = "model"
FALLBACK = 0


def inputs(alphas: tuple[str, ...]) -> list[str]:
    """Names of a model's inputs, in order.

    >>> inputs(("a",))
    ['a.score', 'a.mu', 'a.sigma', 'a.confidence', 'regime', 'volatility', 'half_spread']
    """
    each = [f"{name}.{what}" for name in alphas for what in ("score", "mu", "sigma", "confidence")]
    return [*each, "regime", "volatility", "half_spread"]


def matrix(columns: Columns, sigma: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """A model's inputs, (rows, inputs). Whatever is a return is in units of `sigma`, 0 where sigma is 0."""
    unit = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma > 0)
    count, rows = columns["signals.mu"].shape[1], len(sigma)
    out = np.empty((rows, 4 * count + 3))
    out[:, 0:4 * count:4] = columns["signals.score"]
    out[:, 1:4 * count:4] = columns["signals.mu"] * unit[:, None]
    out[:, 2:4 * count:4] = columns["signals.sigma"] * unit[:, None]
    out[:, 3:4 * count:4] = columns["signals.confidence"]
    out[:, -3] = columns["regime"]
    out[:, -2] = columns["volatility"] * np.sqrt(horizon) * unit
    out[:, -1] = 0.5 * (columns["ask"] - columns["bid"]) / columns["mid"] * unit
    return out


@dataclass(frozen=True)
class Forecast:
    """What a model says of some rows, in units of sigma: quantiles (rows, 5) that rise, mean, probability to rise."""

    quantiles: NDArray[np.float64]
    mean: NDArray[np.float64]
    p_up: NDArray[np.float64]


def summarise(quantiles: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean, standard deviation) of laws given by the quantiles 5, 25, 50, 75 and 95 %.

    >>> [float(round(x[0], 3)) for x in summarise(np.array([[-1.645, -0.674, 0.0, 0.674, 1.645]]))]
    [0.0, 1.012]
    """
    low, median, high = quantiles[:, 0], quantiles[:, 2], quantiles[:, -1]
    return (1 - 2 * MEAN_TAILS) * median + MEAN_TAILS * (low + high), (high - low) / DEVIATION


def ratio(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over standard deviation, 0 where that is 0: what the isotonic map is a function of."""
    mean, deviation = summarise(quantiles)
    return np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 0)


@dataclass(frozen=True)
class Model:
    """A trained blender. `about` is what model.json holds."""

    digest: str
    about: Mapping[str, Any]
    forests: trees.Trees
    isotonic: Isotonic

    def predict(self, rows: NDArray[np.float64]) -> Forecast:
        """Forecasts of rows of `matrix`.

        Quantiles are put in order (Chernozhukov, Fernandez-Val and Galichon 2010, "Quantile and probability curves
        without crossing"): sorting never makes a quantile forecast worse.
        """
        quantiles = np.sort(self.forests.predict(rows), axis=1)
        return Forecast(quantiles, summarise(quantiles)[0], self.isotonic(ratio(quantiles)))


def number(digest: str) -> int:
    """The number of a model in rows; the empty digest is the fallback.

    >>> number(""), number("00000000000000ff"), number("ffffffffffffffff")
    (0, 255, -1)
    """
    if not digest:
        return FALLBACK
    try:
        return int(np.uint64(int(digest, 16)).astype(np.int64)) if len(digest) == 16 else _no_digest(digest)
    except ValueError:
        return _no_digest(digest)


def _no_digest(found: str) -> int:
    raise UserError(STAGE, "a model's digest must be 16 hexadecimal digits", repr(found),
                    "give one that `sigmaflow model list` prints")


def digest_of(number: int) -> str:
    """The digest of a number.

    >>> digest_of(0), digest_of(255), digest_of(-1)
    ('', '00000000000000ff', 'ffffffffffffffff')
    """
    return f"{number % 2**64:016x}" if number else ""


def texts(numbers: NDArray[np.int64]) -> Text:
    """Digests of rows of numbers."""
    if len(numbers) and (numbers == numbers[0]).all():  # as nearly always: nothing is sorted or laid out then
        return _text(int(numbers[0])).take(np.zeros(len(numbers), np.int64))
    held, rows = np.unique(numbers, return_inverse=True)
    return Text.table([digest_of(n).encode() for n in held.tolist()]).take(rows)


@lru_cache(maxsize=64)
def _text(number: int) -> Text:
    return Text.table([digest_of(number).encode()])


def numbers(digests: Text) -> NDArray[np.int64]:
    """Numbers of rows of digests; what is no digest is the fallback.

    >>> numbers(Text.table([b"", b"00000000000000ff"])).tolist()
    [0, 255]
    """
    out = np.zeros(len(digests.start), np.int64)
    _parse(digests.pool, digests.start, digests.length, out)
    return out


@numba.njit(cache=True)
def _parse(pool, start, length, out):
    for row in range(out.shape[0]):
        value = np.uint64(0)
        for k in range(length[row] if length[row] == 16 else 0):
            c = pool[start[row] + k]
            value = (value << np.uint64(4)) | np.uint64(c - 48 if c < 58 else c - 87)
        out[row] = np.int64(value)


# -------------------------------------------------------------------------------------------------------- directory


def save(folder: Path, about: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Write a model below `folder`; its digest. `texts` are the LightGBM files by name."""
    whole = {"format": FORMAT, **about, "files": {name: _sha(text.encode()) for name, text in texts.items()}}
    packed = json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"
    digest = _sha(packed)[:16]
    (folder / digest).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / digest / name).write_bytes(text.encode())
    (folder / digest / "model.json").write_bytes(packed)
    return digest


def load(folder: Path, digest: str) -> Model:
    """Read and check a model. Raises UserError where it is missing, changed, or of another format."""
    number(digest)
    about = describe(folder, digest)
    files = [_file(folder, digest, name, str(about["files"].get(name))) for name in map(file_of, QUANTILES)]
    try:
        forests = trees.read(files, len(about["inputs"]))
    except trees.TreeError as error:
        raise UserError(STAGE, f"{digest} must hold numerical LightGBM trees", str(error), "train it again") from None
    isotonic = Isotonic(*(np.array(about["isotonic"][axis], np.float64) for axis in ("x", "y")))
    return Model(digest, about, forests, isotonic)


def describe(folder: Path, digest: str) -> dict[str, Any]:
    """What model.json holds, checked. Raises UserError as `load`."""
    path = folder / digest / "model.json"
    if not path.is_file():
        known = ", ".join(known_in(folder)) or "none"
        raise UserError(STAGE, f"{digest} must be in {folder}", f"it is not there; there is {known}",
                        "train one with `sigmaflow train`, or copy its folder there")
    packed = path.read_bytes()
    if _sha(packed)[:16] != digest:
        raise UserError(STAGE, f"digest of {path} must be its folder's name", _sha(packed)[:16],
                        "the file was changed: copy the model again, or train it again")
    about: dict[str, Any] = json.loads(packed)
    if about["format"] != FORMAT:
        raise UserError(STAGE, f"{digest} must have format {FORMAT}", f"it has {about['format']}",
                        "train it again with this version")
    return about


def known_in(folder: Path) -> list[str]:
    """Digests of the models in a folder, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/model.json"))


def file_of(quantile: float) -> str:
    """Name of a quantile's file.

    >>> file_of(0.05)
    'q05.txt'
    """
    return f"q{round(100 * quantile):02d}.txt"


def _file(folder: Path, digest: str, name: str, wanted: str) -> str:
    path = folder / digest / name
    packed = path.read_bytes() if path.is_file() else b""
    if _sha(packed) != wanted:
        raise UserError(STAGE, f"{path} must be the file that model.json names", "it is missing or was changed",
                        "copy the model again, or train it again")
    return packed.decode()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Models:
    """The models that a job knows: `first` is in force from the start, others are loaded when they are first named.

    Pickled with the plan: what is loaded at submit travels with the job. `folder` is read for others only.
    """

    profile: Profile
    folder: Path = Path("models")
    first: str = ""
    loaded: dict[int, Model] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.first:
            self.get(self.number(self.first))

    def number(self, digest: str) -> int:
        """The number of a model, 0 for the empty digest. Raises UserError where this job cannot use it."""
        found = number(digest)
        if found != FALLBACK:
            self.get(found)
        return found

    def get(self, number: int) -> Model:
        """The model of that number. Raises UserError as `load` and `check`."""
        if number not in self.loaded:
            self.add(load(self.folder, digest_of(number)))
        return self.loaded[number]

    def add(self, model: Model) -> int:
        """Take a model that is in memory; its number."""
        check(model, self.profile)
        self.loaded[number(model.digest)] = model
        return number(model.digest)


def check(model: Model, profile: Profile) -> None:
    """Raise UserError where a model was trained for other signals than the profile makes."""
    for what, wanted in signals_of(profile).items():
        found = model.about["signals"].get(what)
        if found != wanted:
            raise UserError(STAGE, f"{model.digest} must be trained for the {what} of profile {profile.name}, {wanted}",
                            f"it was for {found}", f"train one with --profile {profile.name}")
    if model.about["inputs"] != inputs(profile.alphas.names):
        raise UserError(STAGE, f"{model.digest} must have this version's inputs",
                        f"{len(model.about['inputs'])} others", "train it again with this version")
    if profile.ensemble.intervals != "adaptive":
        raise UserError(STAGE, f"profile {profile.name} must have adaptive intervals to run a model",
                        f"intervals are {profile.ensemble.intervals}", "leave --model out, or take another profile")


def signals_of(profile: Profile) -> dict[str, Any]:
    """What of a profile settles the signals that a model is trained on."""
    return {"alphas": list(profile.alphas.names), "horizon": profile.alphas.horizon, "memory": profile.alphas.memory}
