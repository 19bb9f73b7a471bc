"""What every implementation of a port must do: one suite per port, run on each of its implementations."""
