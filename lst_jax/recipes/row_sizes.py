"""Shapes of rows that fill evenly: how many tokens go with how many unit positions."""

import math


def row_tokens_for(
    row_patches: int, mean_patch: int | float, interleaved_share: float = 1 / 3, speech_share: float = 0.77
) -> int:
    """T that fills together with U: `row_patches` over the unit positions a token takes, and 1% more.

    Each speech token takes 1/mean_patch unit positions, any other takes one; `interleaved_share` · `speech_share` of
    tokens are speech (paper §5, Table 13). The 1% lets longer patches in without emptying unit positions, which cost
    most. The result is the nearest multiple of U/32, so that both tile alike.

    Example: row_tokens_for(4096, 4.0) -> 5120; (4096, 9.4), merged silence -> 5376; (4096, 1.0), base -> 4096.
    """
    if mean_patch == 1:
        return row_patches
    units_a_token = 1 - interleaved_share * speech_share * (1 - 1 / mean_patch)
    tile = max(1, row_patches // 32)
    return round(1.01 * row_patches / units_a_token / tile) * tile


def row_speech_tokens_for(row_tokens: int, interleaved_share: float = 1 / 3, speech_share: float = 0.77) -> int:
    """S for long rows of the mixture: the speech tokens that T holds on average, and 5% more, in multiples of T/40.

    Over made-up records at U=4096 rows hold 1,290 on average and 1,400 at most; S from 1,360 on costs no fill.

    Example: row_speech_tokens_for(5120) -> 1408.
    """
    tile = max(1, row_tokens // 40)
    return min(row_tokens, math.ceil(1.05 * interleaved_share * speech_share * row_tokens / tile) * tile)
