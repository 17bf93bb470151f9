"""What a site sends: found, sorted into series, classified, checked, freed of names."""

import logging

import pydicom.config

# A header of a site is read as it is; what is wrong with it is ours to say, in words. What pydicom says of it
# would hold values and file names of the site.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
