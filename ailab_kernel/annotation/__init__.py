"""People draw truth: tasks, proposals, readers."""
