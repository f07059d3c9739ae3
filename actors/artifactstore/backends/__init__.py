"""Storage backends, which implement the storage SPI. Only the data plane imports this package."""
