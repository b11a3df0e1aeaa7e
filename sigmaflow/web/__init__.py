"""The live web page: `parts.py` what is shown and how old it is, `collect.py` where it comes from, `server.py` HTTP."""
