"""What became of items is added up without holding all of them."""

from lst_jax.data.shards import ShardInfo
from lst_jax.prepare import accounts
from lst_jax.prepare.accounts import Account, Rejection, Report
from lst_jax.storage.place import to_place


def test_a_report_keeps_examples_and_the_commonest_words(monkeypatch):
    monkeypatch.setattr(accounts, "MOST_GUESSED", 6)
    monkeypatch.setattr(accounts, "GUESSED", 2)
    report = Report(to_place("out"))
    for shard in range(4):
        rejected = tuple(Rejection(f"{shard}-{i}", "bad", "is bad") for i in range(3))
        guessed = {"often": 5, "sometimes": 2, f"once{shard}": 1, f"twice{shard}": 1}
        report.add(ShardInfo("a", 7, 1, ""), Account(10, 70, 20, rejected, guessed, {"marks": 0.25}))
    found = report.mapping()
    assert (report.items, report.prepared, report.rejected, report.frames) == (40, 28, 12, 280)
    assert list(found["reasons"]["bad"]["examples"]) == ["0-0", "0-1", "0-2", "1-0", "1-1"]
    assert found["guessed_words"] == {"often": 20, "sometimes": 8} and found["notes"] == {"marks": 1.0}
    assert "12 rejected (12 bad), more than " in report.line() and len(report.guessed_words) <= 6


def test_accounts_add_up_in_order():
    one = Account(1, 2, 3, (Rejection("a", "x", "y"),), {"b": 1}, {"n": 1})
    two = Account(1, 0, 0, (Rejection("c", "x", "y"),), {"a": 1, "b": 1}, {})
    whole = accounts.total([one, two])
    assert whole == Account(2, 2, 3, (*one.rejected, *two.rejected), {"a": 1, "b": 2}, {"n": 1})
    assert list(whole.guessed_words) == ["a", "b"]
