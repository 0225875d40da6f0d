"""What is done to each attribute, as data: the table, profiles of it, stand-ins, values and free text."""
