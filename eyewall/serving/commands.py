"""``eyewall models list|rollback``."""

import typer

app = typer.Typer(help="The served models: list versions and labels, roll back.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """Versions and labels of every served model."""


@app.command("rollback")
def rollback() -> None:
    """Label the previous good version stable again."""
