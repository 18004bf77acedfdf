"""Recorded runs against each other: grouped, aggregated over seeds, tested, drawn."""
