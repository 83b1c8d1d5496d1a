"""What a network decodes from: grids of numbers on the panorama, their keys, order of coding and context model."""
