"""Places for bytes behind the storage SPI; only the data plane imports from here."""
