"""How large a site must be: what this machine measures, the questions in a cell, the report."""
