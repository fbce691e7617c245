"""Where patches lie, and which tokens and patches a call adds to each row. See modeling_lst.py for the letters."""

from typing import NamedTuple

import torch

from .cache_lst import LstCache, Slots
from .configuration_lst import LstConfig

UNSAID = -1  # of a boundary that the rule decides


class Patches(NamedTuple):
    """The patches of rows of S tokens that begin in the first column; slots behind a row's tokens say nothing."""

    number_BS: torch.Tensor  # of the token's patch, from 0 on
    seen_BS: torch.Tensor  # patches that are known to have ended when the token has been read
    first_BS: torch.Tensor  # token that opens patch number s, or the row's number of tokens where there is none
    ended_B: torch.Tensor  # patches of which the last token tells that they have ended


class Layout(NamedTuple):
    """The new tokens and patches of a call. Only `local` tokens pass the local networks: all, or those of speech."""

    token_BS: torch.Tensor  # all tokens of each row
    tokens: Slots  # the new ones
    local: Slots  # the new ones that pass the local networks
    patches: Slots  # patches that end in this call
    local_patches: Slots  # those of local tokens, numbered by themselves
    real_BM: torch.Tensor  # of `patches`: the row has that many
    all: Patches  # of all tokens
    locals: Patches  # of local tokens alone, numbered by themselves
    number_BL: torch.Tensor  # of each local token among all tokens
    place_BS: torch.Tensor | None  # of each token among the local ones, -1 for others; None = the same

    def new_local_tokens(self) -> torch.Tensor:
        """Ids [B, N] of the new tokens that pass the local networks."""
        return self.token_BS.gather(1, self.number_BL.gather(1, self._within(self.local.number_BN, self.number_BL)))

    def seen_BN(self) -> torch.Tensor:
        """Local patches that each new local token sees."""
        return self.locals.seen_BS.gather(1, self._within(self.local.number_BN, self.locals.seen_BS))

    def ranges(self, window: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """First token of each new local patch, first token of the `window` patches up to it, and where it ends."""
        number_BM, first_BS = self.local_patches.number_BN, self.locals.first_BS
        first = [
            first_BS.gather(1, self._within(x, first_BS)) for x in (number_BM, number_BM - window + 1, number_BM + 1)
        ]
        return first[0], first[1], first[2]

    @staticmethod
    def _within(index, array):
        return index.clamp(0, max(0, array.shape[1] - 1))


def find_boundaries(
    token_BS: torch.Tensor, count_B: torch.Tensor, given_BS2: torch.Tensor, config: LstConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where patches start, and where they are known to end: by what the caller gave, and by the static rule elsewhere.

    Text tokens and markers are patches of their own. Units go in patches of `static_size`, from the first unit of
    their run, or from the start that was given last. The size-th unit ends a patch. If the patches of the model are
    aligned, a unit whose start was given ends its patch where the token behind it opens another.

    Example (static_size 2, u a unit):   BOS <t> a  <s> u u u <t>
        starts at 0 1 2 3 4 6 7 | ends at 0 1 2 3 5 7
    """
    slot_S = torch.arange(token_BS.shape[1], device=token_BS.device)
    real_BS, size = slot_S < count_B[:, None], config.static_size
    opens_BS = (token_BS == config.unit_offset - 1) & config.marker_opens_patch & real_BS
    unit_BS = real_BS & (token_BS >= config.unit_offset) | opens_BS  # what lies in patches of several tokens
    given_BS, given_end_BS = given_BS2.unbind(2)
    anchor_BS = torch.where(unit_BS, 0, slot_S + 1)
    anchor_BS = torch.where(opens_BS | (unit_BS & (given_BS == 1)), slot_S, anchor_BS)
    full_BS = slot_S - anchor_BS.cummax(1).values >= size  # the rule does not lengthen a patch that was given
    full_BS &= _shifted(given_BS, 1, UNSAID) != UNSAID
    full_BS |= _shifted(given_end_BS, 1, UNSAID) == 1  # nor one that has ended
    full_BS &= (given_BS == UNSAID) & unit_BS
    place_BS = slot_S - torch.where(full_BS, slot_S, anchor_BS).cummax(1).values
    first_BS = ~_shifted(unit_BS, 1, False) | opens_BS
    starts_BS = torch.where((given_BS == UNSAID) | first_BS, place_BS % size == 0, given_BS == 1)
    starts_BS = real_BS & (~unit_BS | starts_BS)
    goes_on_BS = _shifted(real_BS & ~starts_BS, -1, False)
    ends_BS = (place_BS % size == size - 1) & ~goes_on_BS
    if config.aligned_patches:
        ends_BS = torch.where(given_BS == UNSAID, ends_BS, _shifted(starts_BS, -1, False))
    ends_BS = torch.where(given_end_BS == UNSAID, ends_BS, given_end_BS == 1)
    return starts_BS, real_BS & (~unit_BS | ends_BS)


def number_patches(starts_BS: torch.Tensor, ends_BS: torch.Tensor, count_B: torch.Tensor) -> Patches:
    """The patches that these boundaries make.

    Example (see `find_boundaries`):   number 0 1 2 3 4 4 5 6 | seen 1 2 3 4 4 5 5 7 | 7 have ended
    """
    slot_S = torch.arange(starts_BS.shape[1], device=starts_BS.device)
    number_BS = starts_BS.cumsum(1) - 1
    seen_BS = torch.where(slot_S < count_B[:, None], torch.where(ends_BS, number_BS + 1, number_BS), 0)
    first_BS = count_B[:, None].repeat(1, starts_BS.shape[1] + 1)
    index_BS = torch.where(starts_BS, number_BS, starts_BS.shape[1])
    first_BS = first_BS.scatter(1, index_BS, slot_S.expand_as(index_BS))
    # the last column took what starts no patch
    first_BS = torch.cat([first_BS[:, :-1], count_B[:, None]], 1)
    ended_B = seen_BS.amax(1) if seen_BS.shape[1] else count_B
    return Patches(number_BS, seen_BS, first_BS, ended_B)


def lay_out(
    token_BN: torch.Tensor,
    given_BN2: torch.Tensor,
    before_B: torch.Tensor,
    count_B: torch.Tensor,
    told: bool,
    cache: LstCache,
    config: LstConfig,
) -> Layout:
    """Adds new tokens to the cache, and finds their patches.

    Args: `count` [B] of the N new tokens are real, the first ones; `before` [B] tokens are known already;
        `given` has the starts and ends of patches that the caller gave: 1, 0 or UNSAID; `told`: there are such.
    Raises: ValueError where patches that were given cannot be.
    """
    now_B = before_B + count_B
    tokens = _slots((before_B, now_B))[0]._replace(count=token_BN.shape[1])
    token_BS, given_BS2 = cache.put("token", token_BN, tokens), cache.put("given", given_BN2, tokens)
    starts_BS, ends_BS = find_boundaries(token_BS, now_B, given_BS2, config)
    found = number_patches(starts_BS, ends_BS, now_B)
    slot_S = torch.arange(token_BS.shape[1], device=token_BS.device)
    old_BS = slot_S < before_B[:, None]
    # as the earlier calls knew it: they did not see where a patch that was given would go on
    done_B = number_patches(*find_boundaries(token_BS, before_B, given_BS2, config), before_B).ended_B
    if told:
        _check_given(starts_BS, ends_BS, found, old_BS, done_B, now_B)
    if not config.text_bypasses_local_networks:
        (patches,) = _slots((done_B, found.ended_B))
        real_BM = patches.number_BN < found.ended_B[:, None]
        own_BS = slot_S.expand_as(token_BS)
        return Layout(token_BS, tokens, tokens, patches, patches, real_BM, found, found, own_BS, None)
    is_local_BS = (token_BS >= config.unit_offset - 1) & (slot_S < now_B[:, None])
    number_BL = (~is_local_BS).to(torch.uint8).argsort(dim=1, stable=True)
    local_now_B, local_before_B = is_local_BS.sum(1), (is_local_BS & old_BS).sum(1)
    local = number_patches(
        *(x.gather(1, number_BL) & (slot_S < local_now_B[:, None]) for x in (starts_BS, ends_BS)), local_now_B
    )
    opens_BS = is_local_BS & starts_BS
    local_done_B, local_ended_B = ((opens_BS & (found.number_BS < x[:, None])).sum(1) for x in (done_B, found.ended_B))
    news = _slots((local_before_B, local_now_B), (done_B, found.ended_B), (local_done_B, local_ended_B))
    real_BM = news[1].number_BN < found.ended_B[:, None]
    place_BS = torch.where(is_local_BS, is_local_BS.cumsum(1) - 1, -1)
    return Layout(token_BS, tokens, *news, real_BM, found, local, number_BL, place_BS)


def _slots(*pairs: tuple[torch.Tensor, torch.Tensor]) -> list[Slots]:
    """The slots of what lies between two numbers per row."""
    first_PB, last_PB = (torch.stack(x) for x in zip(*pairs, strict=True))
    sizes = torch.stack([(last_PB - first_PB).amax(1), first_PB.amin(1), first_PB.amax(1)]).tolist()
    return [Slots(first_B, *size) for (first_B, _), *size in zip(pairs, *sizes, strict=True)]


def _shifted(x_BS: torch.Tensor, by: int, fill) -> torch.Tensor:
    """The array moved by 1 to the right, or by -1 to the left."""
    edge = x_BS.new_full((len(x_BS), 1), fill)
    return torch.cat([edge, x_BS[:, :-1]] if by == 1 else [x_BS[:, 1:], edge], 1)


def _check_given(starts_BS, ends_BS, found: Patches, old_BS, done_B, now_B) -> None:
    slot_S = torch.arange(starts_BS.shape[1], device=starts_BS.device)
    new_BS = ~old_BS & (slot_S < now_B[:, None])
    if (new_BS & (found.number_BS < done_B[:, None])).any():
        raise ValueError(
            "patch_starts: goes on with a patch that an earlier call ended; give the patch_ends of that call too"
        )
    if (ends_BS & _shifted(new_BS & ~starts_BS, -1, False)).any():
        raise ValueError("patch_ends: a patch goes on behind its end; set patch_starts there, or leave the end out")
