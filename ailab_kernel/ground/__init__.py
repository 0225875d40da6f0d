"""Under everything: errors, settings, names, stored bytes, the catalog's protocol, seals and progress."""
