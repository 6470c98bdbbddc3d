"""Methods beside the paper's, one file each."""
