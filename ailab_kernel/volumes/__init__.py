"""Voxels with a place in the body: series, volumes, grids, masks, and the files they travel in."""
