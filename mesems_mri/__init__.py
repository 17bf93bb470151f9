"""Count active multiple-sclerosis lesions on the MRI of multi-site trials."""

import os as _os

__version__ = "0.1.0"

# ANTs, BLAS and OpenMP read these once, when they are loaded: with more threads sums come in another order
# and results differ between runs. Visits run side by side instead. nipype phones home unless NO_ET is set.
for _name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_ET"):
    _os.environ.setdefault(_name, "1")
