"""The head of study files that train in a second, as text; phases and the rest are to be added."""

MARKET = """
[data]
horizons_days = [1, 5]
[data.synthetic]
days = 200
stocks = 24
noise_features = 1
[data.pack]
min_stocks_per_day = 10
[model]
hidden = 8
lookback_days = 8
san = { slice_days = 4, spans = [1, 2] }
attention_heads = 1
fan = { k = 1 }
gat = { heads = [1] }
[slices]
days = 30
context_days = 8
[graph]
window_days = 20
neighbours = 3
[split]
embargo_days = 0
[optim]
swa_epochs = 0
[runtime]
precision = "float32"
threads = 1
"""
