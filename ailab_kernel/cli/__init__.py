"""The terminal's door: one module a verb family; exit 0 done, 1 failed, 2 wrong use."""
