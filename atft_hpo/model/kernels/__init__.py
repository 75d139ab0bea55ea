"""How sums over many features are computed: in blocks, by table, in Triton."""
