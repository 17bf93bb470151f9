"""DICOM reading: archives, instances, series, geometry, acquisition parameters."""
