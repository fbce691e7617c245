"""Shapes of rows that fill evenly: how many tokens go with how many patch positions."""

import math


def row_tokens_for(
    row_patches: int, mean_patch: int | float, interleaved_share: float = 1 / 3, speech_share: float = 0.77
) -> int:
    """T, the tokens of a row that fill together with its U = `row_patches` patch positions.

    Each speech token takes 1/mean_patch patch positions, and any other token takes one. A share of
    `interleaved_share` · `speech_share` of the tokens are speech (paper §5, Table 13). The result is U over the patch
    positions per token, and 1% more, as the nearest multiple of U/32, so that T and U tile alike.

    The 1% makes room for patches that are longer than the mean. Patch positions cost most, so none should stay empty.

    Example: row_tokens_for(4096, 4.0) -> 5120; (4096, 9.4), merged silence -> 5376; (4096, 1.0), base -> 4096.
    """
    if mean_patch == 1:
        return row_patches
    patches_per_token = 1 - interleaved_share * speech_share * (1 - 1 / mean_patch)
    tile = max(1, row_patches // 32)
    return round(1.01 * row_patches / patches_per_token / tile) * tile


def row_patches_for(
    row_tokens: int, mean_patch: int | float, interleaved_share: float = 1 / 3, speech_share: float = 0.77
) -> int:
    """U, the patch positions that fill together with T = `row_tokens`: what `row_tokens_for` turns round.

    For rows of the same tokens whatever the size of patches. A multiple of 8.

    Example: row_patches_for(5120, 4.0) -> 4096; (5120, 1.0), base -> 5120.
    """
    if mean_patch == 1:
        return row_tokens
    patches_per_token = 1 - interleaved_share * speech_share * (1 - 1 / mean_patch)
    return min(row_tokens, round(row_tokens * patches_per_token / 1.01 / 8) * 8)


def row_speech_tokens_for(row_tokens: int, interleaved_share: float = 1 / 3, speech_share: float = 0.77) -> int:
    """S, the speech tokens of a long row of the mixture: the mean over rows and 5% more, in multiples of T/40.

    Over made-up records at U=4096, rows hold 1,290 speech tokens on average and 1,400 at most. From S = 1,360 on, the
    limit leaves no position empty.

    Example: row_speech_tokens_for(5120) -> 1408.
    """
    tile = max(1, row_tokens // 40)
    return min(row_tokens, math.ceil(1.05 * interleaved_share * speech_share * row_tokens / tile) * tile)


def row_speech_patches_for(row_speech_tokens: int, mean_patch: int | float) -> int:
    """P, the patches of a row's S = `row_speech_tokens` speech tokens, and a quarter more, in multiples of S/11.

    Markers and short last patches are patches too. Over made-up records at S=1408, rows hold 343 patches on average and
    368 at most with static patches of 4. The rest is for records whose runs of speech are shorter.

    Example: row_speech_patches_for(1408, 4.0) -> 512.
    """
    tile = max(1, row_speech_tokens // 11)
    return min(row_speech_tokens, max(8, math.ceil(1.25 * row_speech_tokens / mean_patch / tile) * tile))
