"""Long runs of each transport at 80 % of its capacity, with faults at random: ``./dev soak``."""
