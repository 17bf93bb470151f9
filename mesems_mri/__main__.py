"""``python -m mesems_mri``."""

from mesems_mri.cli import main

main()
