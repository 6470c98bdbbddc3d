"""The process and the machine: device, threads, precision, seeds, signals, files, progress."""
