"""The HTTP service: an actor that serves health, metrics and live events with Quart on Hypercorn."""
