"""Finds parameters: spaces, scores, and the search for the best of them."""
