"""Intake of submissions: inventory, classification, protocol compliance, de-identification, filing."""

import logging

import pydicom.config

# Headers are read without validation: findings are reported by this package. Messages of pydicom would hold
# values and file names of the site.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
