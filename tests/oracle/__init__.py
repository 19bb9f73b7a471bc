"""A second exchange with grid and DCA, written from docs/execution.md alone; the product is not used."""
