"""``python -m mesems_mri``."""

from mesems_mri.cli.main import main

main()
