"""The machine and the process: settings, precision, devices, files, memory allocation, progress."""
