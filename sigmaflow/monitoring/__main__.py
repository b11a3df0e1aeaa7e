"""`python -m sigmaflow.monitoring`: write dashboards and service levels into docker/."""
from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from sigmaflow.monitoring import levels, market, system, trading
from sigmaflow.settings import ROOT

DASHBOARDS = {"trading": trading.dashboard, "market": market.dashboard, "system": system.dashboard}


def files(root: Path = ROOT) -> dict[Path, str]:
    """Every file with its text."""
    folder = root / "docker" / "grafana" / "dashboards"
    encoder = JSONEncoder(sort_keys=True, indent=2)
    boards = {folder / f"{name}.json": encoder.encode(make().build()) + "\n" for name, make in DASHBOARDS.items()}
    return boards | {root / "docker" / "prometheus" / "rules" / "levels.yml": levels.text()}


if __name__ == "__main__":
    for file, content in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        print(file.relative_to(ROOT))
