"""What a site sends: found, sorted into series, classified, checked, freed of names."""
