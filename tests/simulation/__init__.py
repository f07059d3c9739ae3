"""The deterministic simulation of a whole store, and the tests that run it; `docs/TESTING.md` explains both."""
