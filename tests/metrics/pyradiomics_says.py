"""What pyradiomics says of films, in an interpreter that has it: FILMS.npz (films, masks) to FEATURES.json.

pip install "numpy<2" SimpleITK setuptools wheel cython versioneer && pip install --no-build-isolation pyradiomics
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np

FAMILIES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")


def main() -> None:
    """Every film is a volume of one slice, with a border outside the mask: one that is all inside is refused there."""
    import radiomics  # type: ignore[import-not-found,unused-ignore]
    import SimpleITK as sitk  # type: ignore[import-not-found,unused-ignore]
    from radiomics import featureextractor  # type: ignore[import-not-found,unused-ignore]

    logging.disable(logging.CRITICAL)
    given = np.load(sys.argv[1])
    settings = {"binCount": 64, "force2D": True, "force2Ddimension": 0, "additionalInfo": False}
    extractor = featureextractor.RadiomicsFeatureExtractor(**settings, minimumROIDimensions=1)
    extractor.disableAllFeatures()
    for family in FAMILIES:
        extractor.enableFeatureClassByName(family)
    border = ((0, 0), (1, 1), (1, 1))
    told, began = [], time.process_time()
    for film, mask in zip(np.pad(given["films"], border), np.pad(given["masks"], border), strict=True):
        pictures = (sitk.GetImageFromArray(one[None].astype(np.uint8)) for one in (film, mask))
        found = {name.removeprefix("original_"): float(value) for name, value in extractor.execute(*pictures).items()}
        told.append(found)
    seconds = time.process_time() - began
    said = {"pyradiomics": radiomics.__version__, "numpy": np.__version__, "seconds": seconds, "features": told}
    Path(sys.argv[2]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
