"""The parts of bench/real.py, the comparison of the model with baselines on real prices.

    profiles      how much is computed
    prices        a file of daily prices → the data configuration of its panel
    folds         walk-forward folds, the test range, the inner range for early stops
    samples       what every model learns from: features, labels, masks
    full          the product's model
    linear, trees, nets, net_training, controls    what it is compared with
    models        all of them by name
    jobs          one process per (model, fold, seed); finished ones are kept
    evaluation    daily series, summaries, paired differences, style attribution
    comparison    forecasts of all models → one result
    table         the result as tables, markdown and JSON
    simulated     a market whose volumes tell something, where no prices are given

Shape legend as in docs/shapes.md: D days, N stocks, F features, Q horizons; R rows (live cells).
"""
