"""De-identification by the standard's own table (PS3.15 annex E): rules, the scrubber, pixels, and the proof."""
