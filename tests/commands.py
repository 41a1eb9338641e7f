"""Commands of ours as a test gives them."""

from neufield.apps import cli


def run(*arguments: object) -> None:
    """``neufield`` with these arguments, within this process."""
    cli.main([str(argument) for argument in arguments])
