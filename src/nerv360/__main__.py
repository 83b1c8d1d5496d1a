"""`python -m nerv360` is `nerv360`."""

from nerv360.cli.app import main

if __name__ == "__main__":
    main()
