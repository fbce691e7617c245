"""Runs as the file that `lst fit` reads."""

import json


def write(path, points):
    """The runs as JSON lines; returns the path."""
    path.write_text(
        "".join(
            json.dumps(
                {
                    "run": p.run,
                    "system": p.system,
                    "parameters": p.parameters,
                    "tokens": p.tokens,
                    "flops": p.flops,
                    **p.measures,
                    "items": p.items,
                    "config_hash": p.config_hash,
                    "commit": p.commit,
                }
            )
            + "\n"
            for p in points
        )
    )
    return path
