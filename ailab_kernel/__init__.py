"""AI-LAB: a study from the PACS through annotate, train, validate and infer, and back to it."""
