"""The chip model: what a run did, counted, and what that takes in time and energy (docs/energy.md)."""
