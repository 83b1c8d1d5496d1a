"""Small modules, each tested against its formula or a second implementation."""
