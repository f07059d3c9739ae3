"""The deterministic simulation of a whole store, and its tests; `docs/how-to/testing-actors.md` explains both."""
