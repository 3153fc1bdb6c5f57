"""``python -m bayescale``: the command line."""

from bayescale.cli import main

if __name__ == "__main__":
    main(prog_name="bayescale")
