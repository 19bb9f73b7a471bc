"""Whom the journal tells of its records."""
