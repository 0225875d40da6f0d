"""What is written about images: segmentations, structures, reports, pictures; ours byte-equal when made again."""
