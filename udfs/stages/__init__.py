"""One stage a file; each file has its state's layout, its kernel and `stage(profile)`."""
