"""Images and their geometry: NIfTI policy, bias field, brain mask, registration."""
