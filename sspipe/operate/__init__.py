"""What an operator asks before, during and after a night: plan, preflight, status, cancel, efficiency."""
