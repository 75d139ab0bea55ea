"""The continuation-forecasting experiment of `bench/fan.py`, in the order of its story.

series     a CSV or Parquet file, or a generated series, as one checked table
task       splits, scaling, windows; what the data sets of the papers use for K and slices
training   the methods, early stopping, metrics of the test part
"""
