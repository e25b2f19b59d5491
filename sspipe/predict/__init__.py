"""Predict: probabilities from radar alone, and footprints from probabilities."""
