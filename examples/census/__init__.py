"""The parts of ``standard_library_census.py``."""
