"""The deterministic simulation: the real actors in a world in which anything may go wrong, as often as asked for."""
