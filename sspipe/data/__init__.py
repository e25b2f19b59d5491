"""Data: the archive, its layout, the catalog of tiles, the splits and their leakage."""
