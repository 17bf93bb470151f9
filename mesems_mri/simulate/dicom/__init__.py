"""The simulated trial as its sites would send it: DICOM in the manner of three vendors, names and all."""
