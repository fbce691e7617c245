"""`python -m lst_jax` is the `lst` command."""

import sys

from lst_jax.cli import main

sys.exit(main())
