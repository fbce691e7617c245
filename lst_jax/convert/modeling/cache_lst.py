"""What earlier tokens leave behind: one array per name, whose rows are filled by number. See modeling_lst.py."""

from typing import NamedTuple

import torch


class Slots(NamedTuple):
    """The numbers of the things of one kind (tokens, patches) that a call adds to each row of a cache."""

    first_B: torch.Tensor  # how many each row has already, which is the number of its first new one
    count: int  # N, new ones per row; a row may really have fewer
    low: int  # the least of `first_B`
    high: int  # the largest of `first_B`

    @property
    def number_BN(self) -> torch.Tensor:
        """The number of each new one."""
        return self.first_B[:, None] + torch.arange(self.count, device=self.first_B.device)


class LstCache:
    """What `forward` returns with `use_cache=True`, and takes back as `past_key_values` with the tokens that follow.

    Array `name` is [B, slots, ...]. The thing with number n lies in slot n. Rows may have reached different numbers.
    Slots that a row has not reached hold values that nothing in this row sees; they are written when it reaches them.
    """

    is_compileable = False
    is_sliding = False

    def __init__(self, keeps: bool = True):
        """Empty. `keeps` False: it returns what it is given and stays empty, for a call without earlier tokens."""
        self.keeps, self.held = keeps, {}
        self.real_BC = None  # of every column so far: is it a token, and no padding?

    def put(self, name: str, new_BN: torch.Tensor, at: Slots) -> torch.Tensor:
        """The array `name` with `new` in the slots `at`."""
        if name not in self.held:
            whole = new_BN
        elif not at.count:
            return self.held[name]
        else:
            old_BS = self.held[name]
            if at.low == at.high <= old_BS.shape[1]:
                whole = torch.cat([old_BS[:, : at.low], new_BN], 1)
            else:
                more = max(0, at.high + at.count - old_BS.shape[1])
                whole = torch.cat([old_BS, old_BS.new_zeros(len(old_BS), more, *old_BS.shape[2:])], 1)
                whole[torch.arange(len(whole), device=whole.device)[:, None], at.number_BN] = new_BN
        if self.keeps:
            self.held[name] = whole
        return whole

    def known(self, real_BT: torch.Tensor) -> torch.Tensor:
        """Tokens per row before this call; notes which of the new columns are tokens."""
        before = real_BT[:, :0] if self.real_BC is None else self.real_BC
        if self.keeps:
            self.real_BC = torch.cat([before, real_BT], 1)
        return before.sum(1)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns so far, padding included."""
        return 0 if self.real_BC is None else self.real_BC.shape[1]

    def get_max_cache_shape(self, layer_idx: int = 0) -> None:
        """None: there is no limit."""

    def activate_past_recording(self) -> None:
        """Nothing: all of the past is always kept."""

    def crop(self, max_length: int) -> None:
        """Forgets all columns but the first `max_length`, or the last -`max_length` columns where it is negative.

        The next call writes the slots of what was forgotten again, so that it computes as if it had never been read.
        """
        if self.real_BC is not None and (max_length >= 0 or self.real_BC.shape[1] + max_length >= 0):
            self.real_BC = self.real_BC[:, :max_length]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Makes its rows those with the given numbers, which may repeat: beams, or several answers to one prompt."""
        self.held = {name: x.index_select(0, beam_idx.to(x.device)) for name, x in self.held.items()}
        if self.real_BC is not None:
            self.real_BC = self.real_BC.index_select(0, beam_idx.to(self.real_BC.device))
