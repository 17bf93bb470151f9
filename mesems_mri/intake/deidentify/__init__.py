"""De-identification of DICOM headers, pixels and sidecars (DICOM PS3.15), and pseudonyms."""
