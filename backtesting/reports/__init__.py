"""Results to be looked at: pictures, pages and run directories. Reports read results, never the reverse."""
