"""Many lists of flags are checked in one process; none remembers the one before."""

from absl import flags as absl_flags

from trainer.cli import flag_lists, flags


def test_each_list_is_checked_alone():
    values = flags.define(absl_flags.FlagValues())
    good = ["--dataset=digits", "--seed=7", "--validation_fraction=0.2"]
    for _ in range(2):
        found = flag_lists.check_list(values, good)
        assert found == {"code": 0, "seed": 7, "validation_fraction": 0.2}
        plain = flag_lists.check_list(values, [])
        assert plain == {"code": 0, "seed": 0, "validation_fraction": 0.1}
        refused = flag_lists.check_list(values, [*good, "--epochs=0"])
        assert refused["code"] == 2
        assert refused["message"].startswith("--epochs=0")
        kwargs = ["--model_kwargs=width=2", "--model_kwargs=widht=2"]
        assert "widht" in flag_lists.check_list(values, kwargs)["message"]
        unknown = flag_lists.check_list(values, ["--learning_rat=2"])
        assert "learning_rate" in unknown["message"]
