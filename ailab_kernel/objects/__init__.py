"""What we write about images: segmentations and structured reports, byte-equal when they are made again."""
