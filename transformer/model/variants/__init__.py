"""Other mechanisms in the place of the paper's, one file each."""
