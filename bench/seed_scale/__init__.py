"""The parts of the benchmarks at the seed's scale: bench/step.py, bench/pack.py, bench/gpu.py.

panel      a panel store of any size with random content, written straight to disk
machine    what this machine can do: matrix products, memory bandwidth
"""
