"""``python -m api``."""

from api.cli import app

if __name__ == "__main__":
    app()
