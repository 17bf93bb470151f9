"""What a site sends: found, sorted into series, classified, checked, freed of names."""

import pydicom.config

# A header of a site is read as it is; what is wrong with it is ours to say, in words, and not to warn about.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
