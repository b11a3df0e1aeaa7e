"""The commands by subject: thin functions over the modules that do the work, imported only when they run."""
