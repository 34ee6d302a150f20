"""What phantoms are labelled with where that is not what their films show: at known rates, by source if need be.

Only labels of train and val are wrong: what is learnt from. Those of test are what films show, or nobody could tell how
much was recovered. Whether a label is wrong is drawn by film and finding: the same film has its wrong labels at any
number of patients, and a label that is wrong at some rate is wrong at every higher one.
"""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic

from fedcxr.cohort import FINDINGS
from fedcxr.data.phantom.visits import VERSION
from fedcxr.rng import stream

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Reading(pydantic.BaseModel):
    """How often labels are right; 1 and 1: always."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sensitivity: Share = pydantic.Field(1.0, description="share of the films with a finding that are labelled with it")
    specificity: Share = pydantic.Field(1.0, description="share of the films without it that are labelled without")


class Mislabelled(Reading):
    """In general, and of single sources."""

    sources: dict[str, Reading] = pydantic.Field({}, description="of single sources instead: `source-2: {...}`")

    def check(self, sources: int) -> None:
        """Refuse names of sources that there are not."""
        for name in self.sources:
            number = re.fullmatch("source-([1-9][0-9]{0,3})", name)
            if number is None or int(number[1]) > sources:
                raise ValueError(f"mislabelled.sources: there is no {name}, only source-1 to source-{sources}")


def labelled(index: pd.DataFrame, wrong: Mislabelled, seed: int) -> pd.DataFrame:
    """The index table with labels as they were written down, of a table with what films show."""
    if wrong == Mislabelled():
        return index
    read = [wrong.sources.get(source, wrong) for source in index["source"]]
    right = np.array([[one.specificity, one.sensitivity] for one in read])  # (n, 2) of films without and with it
    shown = index[list(FINDINGS)].to_numpy(dtype=np.float32) == 1
    draws = np.array(
        [stream(seed, "phantom", VERSION, film, "labels").random(len(FINDINGS)) for film in index["image"]]
    )
    turned = draws >= np.where(shown, right[:, 1:], right[:, :1])
    turned &= (index["split"] != "test").to_numpy()[:, None]
    told = pd.DataFrame((shown ^ turned).astype(np.float32), columns=list(FINDINGS), index=index.index)
    return index.assign(**{finding: told[finding] for finding in FINDINGS})
