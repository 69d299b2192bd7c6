"""The command-line tests share helpers with the mounted ones."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "fs"))
