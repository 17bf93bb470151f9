"""The simulated trial as submissions: DICOM in the formats of three vendors, with planted identifiers."""
