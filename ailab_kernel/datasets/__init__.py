"""Frozen, named, traceable collections of cases, and the phantoms that need no patient."""
