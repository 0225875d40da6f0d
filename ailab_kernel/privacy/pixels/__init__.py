"""Text that is burned into pixels: rules that tell where it may be, a reader that finds it, masks, a sheet to review."""
