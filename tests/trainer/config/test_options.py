"""One option more: its flag, help, bounds, JSON and table come from its field alone."""

import dataclasses
import json

import pytest
from absl import flags

from trainer.cli import command, flag_schema
from trainer.config import options, schema, serialization
from trainer.config.enums import Augment
from trainer.config.options import Bounded, option
from trainer.config.run_config import RunConfig
from trainer.errors import InvalidConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoreDataConfig(schema.DataConfig):
    """Today's options and one more."""

    blur: float | None = option(
        None, "Blurs images (Gauss 1809) with `crop_pixels`.", at_least=0, below=2
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoreConfig(Bounded):
    data: MoreDataConfig = MoreDataConfig()
    extra: dict = option({}, "Anything.", group="Later", parse=lambda _, texts: texts)


def parsed(*words: str) -> flags.FlagValues:
    values = flags.FlagValues()
    flag_schema.define(values, MoreConfig)
    command.parse(values, ["x", *words])
    return values


def test_it_has_a_flag_and_reaches_the_config():
    config = flag_schema.build(MoreConfig, parsed("--blur=0.2", "--augment=flip"))
    assert (config.data.blur, config.data.augment) == (0.2, Augment.FLIP)
    assert flag_schema.build(MoreConfig, parsed()) == MoreConfig()


def test_it_stands_in_help_under_the_heading_of_its_class():
    text = command.help_text("x", "", parsed())
    data = text[text.index("Data:") : text.index("Later:")]
    said = "      Blurs images (Gauss 1809) with --crop_pixels. (default: not set)"
    assert f"  --blur\n{said}" in data


@pytest.mark.parametrize("value", ["-0.1", "2", "nan", "inf"])
def test_its_bounds_are_checked_and_named(value):
    values = parsed(f"--blur={value}")
    with pytest.raises(InvalidConfig, match="^blur=.* at least 0 and below 2$"):
        flag_schema.build(MoreConfig, values)


def test_it_survives_json_and_is_missing_in_older_files():
    config = MoreConfig(data=MoreDataConfig(blur=1))
    fields = json.loads(json.dumps(serialization.to_plain(dataclasses.asdict(config))))
    assert serialization.from_plain(MoreConfig, fields) == config
    fields["data"]["blur"] = True
    with pytest.raises(InvalidConfig, match="its data.blur is True"):
        serialization.from_plain(MoreConfig, fields)
    del fields["data"]["blur"]
    assert serialization.from_plain(MoreConfig, fields).data.blur is None


def test_it_stands_in_the_table():
    row = "| `--blur` |  | a number at least 0 and below 2 | Blurs images (Gauss 1809) "
    assert row + "with `--crop_pixels`. |" in flag_schema.table(MoreConfig).splitlines()


def test_every_option_stands_under_a_heading_and_says_what_it_is():
    for each in flag_schema.declared(schema.Config, RunConfig):
        assert each.group in options.GROUPS, each.name
        text = each.option.help
        assert text.endswith(".") and text.split()[0] not in ("Of", "For"), each.name


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"at_least": 0, "at_most": 8}, "within 0 to 8"),
        ({"above": 0, "at_most": 1}, "above 0 and at most 1"),
        ({"at_least": 16}, "at least 16"),
    ],
)
def test_bounds_are_said_in_words(bounds, words):
    assert str(options.Bounds(**bounds)) == words


def test_a_config_is_what_json_gives_back():
    """So that what a run recorded compares equal to what it is asked for."""
    data = schema.DataConfig(image_size=(20, 16), channels=1)
    found = schema.Config(data=data).to_json()
    assert json.loads(json.dumps(found)) == found
