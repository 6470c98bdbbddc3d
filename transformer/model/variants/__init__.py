"""Other mechanisms in place of the paper's, one file each; `build.py` chooses."""
