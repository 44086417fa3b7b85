"""Trained text classifiers, on this machine or behind an address, that guards may ask."""
