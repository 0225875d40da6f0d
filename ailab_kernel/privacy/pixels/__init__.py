"""Text that is burned into pixels: rules for where it may be, a reader that finds it, masks, a sheet to review."""
