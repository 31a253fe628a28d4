"""`python -m rltf` is the command `rltf`."""

from rltf.cli.main import run

if __name__ == "__main__":
    run()
