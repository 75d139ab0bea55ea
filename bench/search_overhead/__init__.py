"""The parts of bench/search.py.

history    a study's past, written in bulk
trials     new trials of that study, each step of the service timed
"""
