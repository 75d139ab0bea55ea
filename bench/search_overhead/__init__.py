"""The parts of bench/search.py.

cost       milliseconds per trial-epoch of new trials
history    a study's past, written in bulk
trials     new trials of that study, each step of the service timed
"""
