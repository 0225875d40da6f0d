"""Evidence: how well masks agree, with intervals that take the patient as the unit."""
