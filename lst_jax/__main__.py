"""`python -m lst_jax` is the `lst` command."""

import sys

from lst_jax.cli.main import command

sys.exit(command())
