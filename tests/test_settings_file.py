"""A file of settings is read as YAML, and what YAML would let pass unseen is an error that names file and line."""

import pytest

from sspipe.errors import UserError
from sspipe.settings_file import read_settings


def refusal(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_anchors_merges_and_equal_keys_in_different_places_are_read_as_yaml_has_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "a: &base {x: 1, y: 2}\nb: *base\nc: {<<: *base, x: 3}\nd: {<<: *base, x: 3}\ne: [{x: 1}, {x: 2}]\n"
    )
    both = {"x": 3, "y": 2}
    read = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": both, "d": both, "e": [{"x": 1}, {"x": 2}]}
    assert read_settings(path) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [0]\nresults: r\nseeds: [1]", "`seeds` stands in line 1 and again in line 3"),
        ("variants:\n  a: {x: 1}\n  b: {x: 1}\n  a: {x: 2}", "`a` stands in line 2 and again in line 4"),
        ("a:\n- {x: 1,\n   x: 2}", "`x` stands in line 2 and again in line 3"),
        ("a: {x: 1, x: 1}", "`x` stands in line 1 and again in line 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


def test_all_keys_that_stand_twice_are_told_at_once(tmp_path):
    message = refusal(tmp_path, "a: 1\nb: 1\na: 2\nb: 2")
    assert "`a`" in message
    assert "`b`" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('a: 1\ntitle: "Geb\xe4ude"\n'.encode("latin-1"), "line 2 is not in UTF-8"),
        ("a: [1", "not valid YAML"),
        ("a:\n\t- 1", "not valid YAML"),
        ("a: 2024-13-41", "not valid YAML"),
        ("a: !!python/name:os.system", "not valid YAML"),
        ("", "must be a mapping of settings"),
        ("- a", "must be a mapping of settings"),
    ],
)
def test_what_is_no_mapping_in_utf_8_is_refused(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        read_settings(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        read_settings(tmp_path)
