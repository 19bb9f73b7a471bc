"""What not to enter. Filters judge entries; they never trade."""
