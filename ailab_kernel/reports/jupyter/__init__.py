"""What a person's Jupyter server does with identifiers: saving marks a notebook, exporting and downloading refuse."""
