"""`python -m atft_hpo` is `atft-hpo`."""

from atft_hpo.cli import main

if __name__ == "__main__":
    main()
