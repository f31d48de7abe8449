"""Imported by python before a suite's own files: temporary folders, and so the containers named after them, carry our tag."""
import os
import tempfile

tempfile.template = os.environ["SUITE_TAG"] + "-"
