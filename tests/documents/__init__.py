"""The documents as programs: every page taken apart into blocks, and every block run, applied or read.

What a fence says behind its language decides what is done with it:

    ```sh              run in a copy of the project, without a stack       tests/unit/test_documents.py
    ```sh stack        run against a running stack with a market           tests/pipeline/test_documents.py
    ```sh check WHY    read: commands, options, targets, files must exist  tests/unit/test_documents.py, NOT_RUN
    ```diff            applied to the copy, in the page's order
    ```python FILE     written to FILE of the copy
    ```text, ```mermaid, ```json, ```toml    shown

A page is found by itself; a fence without a language fails. `pages.py` reads them, `shell.py` says what is wrong with a
command, `copies.py` is the project that a page is followed in.
"""
