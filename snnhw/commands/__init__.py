"""One command a file; `NAME_command.py` holds `command`. They parse words, call `snnhw.api`, and print."""
