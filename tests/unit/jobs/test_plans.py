"""Plans as they reach Flink: pickled by the client, unpickled on a TaskManager."""
from __future__ import annotations

import cloudpickle
import pytest

from jobs.chain import plans
from jobs.chain.inprocess import contracts
from udfs import profiles


@pytest.mark.parametrize("profile", ["reference", "default", "slow"])
@pytest.mark.parametrize("job", ["pipeline", *plans.JOBS])
def test_a_plan_can_be_sent(job: str, profile: str) -> None:
    """PyFlink sends what an operator is made of with cloudpickle."""
    both = [plans.shard, plans.account]
    makers = {"pipeline": both, "sizing": both, "fills": [plans.account]}
    for make in makers.get(job, [plans.shard]):
        plan = make(job, profiles.get(profile), contracts(), 3)
        came = cloudpickle.loads(cloudpickle.dumps(plan))
        assert [(stage.name, stage.symbol) for stage in came.stages] == [(s.name, s.symbol) for s in plan.stages]
