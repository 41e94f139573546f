"""Runs built functions with the recorded events of tests/fixtures/events, against `local`."""
