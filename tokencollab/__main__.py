"""`python -m tokencollab` is the `tokencollab` command."""

from tokencollab.cli import main

if __name__ == "__main__":
    main()
