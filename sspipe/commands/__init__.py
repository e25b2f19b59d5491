"""The sub-commands of each room: their flags, and the function that each one runs."""
