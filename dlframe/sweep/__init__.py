"""Sweeps: a study of many trials over a search space, by workers that share a storage."""
