"""The checker that the import hook of pyproject.toml wraps around every function of the package."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is welcome where a float is expected
