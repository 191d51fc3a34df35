import os
import sys

import numpy as np
import pytest
from PIL import Image

from policysearch.data import image_file
from policysearch.data.source import load_source
from policysearch.errors import DataError, InvalidValueError


def random_image(seed, size=(12, 10), mode="RGB"):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)


def notices(source):
    return "\n".join(source.notices)


def fill(root, label, image, name="x.png"):
    (root / label).mkdir(parents=True, exist_ok=True)
    image.save(root / label / name)


def test_missing_path_suggests_a_near_name(make_folder):
    root = make_folder()
    with pytest.raises(DataError, match=r"does not exist. Did you mean '.*images'\?"):
        load_source(str(root.parent / "imagse"))


def test_missing_path_in_a_missing_folder_says_so(tmp_path):
    with pytest.raises(DataError, match=r"The folder '.*nowhere' does not exist either"):
        load_source(tmp_path / "nowhere" / "x")


def test_misspelt_builtin_is_suggested():
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        load_source("digit")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "/" + "y/" * 3000, "\udcff"])
def test_absurd_paths_are_refused(name):
    with pytest.raises(DataError, match="does not exist") as caught:
        load_source(name)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no devices")
def test_devices_are_refused():
    with pytest.raises(DataError, match="'/dev/null' is neither a folder nor a plain file"):
        load_source("/dev/null")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x.zip", "Unpack it"),
        ("x.npy", "numpy.savez"),
        ("x.csv", "must hold a line of column names and rows below"),
        ("x.abc", "Give a folder of images, sound or .txt files by class, an .npz"),
    ],
)
def test_other_files_are_refused_with_a_hint(tmp_path, name, hint):
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(DataError, match=hint):
        load_source(tmp_path / name)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no class folders with images"):
        load_source(tmp_path)


def test_folder_without_classes_is_refused(make_folder):
    root = make_folder("cat")
    with pytest.raises(DataError, match="4 images but no class folders"):
        load_source(root / "cat")


def test_one_class_is_refused(make_folder):
    with pytest.raises(DataError, match="at least 2 classes, got only 'cat'"):
        load_source(make_folder("cat"))


def test_empty_class_folders_are_named(make_folder):
    root = make_folder("a", "b")
    (root / "hollow").mkdir()
    with pytest.raises(DataError, match="got none in hollow"):
        load_source(root)


def test_folder_of_other_files_lists_them(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"holds no images.*Ignored: a/notes.txt"):
        load_source(tmp_path)


def test_differing_classes_of_train_and_test_are_named(make_folder):
    root = make_folder("train/a", "train/b", "train/c", "test/a", "test/b", "test/d")
    with pytest.raises(DataError, match="only in test/: d; only in train/: c"):
        load_source(root)


def test_split_folders_without_train_are_refused(make_folder):
    with pytest.raises(DataError, match="there is no 'train/' folder"):
        load_source(make_folder("test/a", "test/b"))


def test_split_folders_without_classes_are_refused(make_folder):
    with pytest.raises(DataError, match="'train/' holds no class folders"):
        load_source(make_folder("train", "test"))


def test_two_folders_for_one_split_are_refused(make_folder):
    with pytest.raises(DataError, match="holds both 'val' and 'valid'"):
        load_source(make_folder("train/a", "train/b", "val/a", "valid/a"))


def damage(root):
    """Truncated, empty, not an image, and a bomb; returns their names."""
    whole = (root / "cat" / "000.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "empty.jpg").write_bytes(b"")
    (root / "dog" / "text.png").write_text("I am not an image")
    Image.new("1", (9000, 9000)).save(root / "dog" / "bomb.png")
    return ["cat/cut.png", "cat/empty.jpg", "dog/text.png", "dog/bomb.png"]


def test_damaged_images_are_all_named_with_their_reasons(make_folder):
    root = make_folder()
    names = damage(root)
    with pytest.raises(DataError) as caught:
        load_source(root)
    text = str(caught.value)
    assert text.startswith("4 images in")
    assert all(name in text for name in names)
    assert "bomb.png: 9000 x 9000 pixels, more than 64 million" in text
    assert "text.png: not a JPEG, PNG, PPM, WebP or BMP image" in text
    assert "--skip-bad" in text


def test_skip_bad_goes_on_and_lists(make_folder):
    root = make_folder()
    names = damage(root)
    source = load_source(root, skip_bad=True)
    assert len(source.train) == 8
    assert not set(names) & set(source.train.names)
    assert "4 images could not be read and were left out" in notices(source)
    assert all(name in notices(source) for name in names)


def test_skip_bad_keeps_groups_aligned(make_folder):
    root = make_folder()
    damage(root)
    train = load_source(root, skip_bad=True, group_pattern=r"(\w+)\.").train
    assert list(train.groups) == [name.split("/")[1].split(".")[0] for name in train.names]


def test_skip_bad_does_not_lose_a_class(make_folder):
    root = make_folder("a", "b")
    (root / "c").mkdir()
    (root / "c" / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match="got only damaged ones in train/c"):
        load_source(root, skip_bad=True)


def test_many_damaged_images_are_counted(make_folder):
    root = make_folder()
    for i in range(15):
        (root / "cat" / f"bad{i:02d}.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"15 images(.|\n)*bad09(.|\n)*and 5 more") as caught:
        load_source(root)
    assert "bad10" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_decoded(make_folder, monkeypatch):
    root = make_folder()
    Image.new("1", (9000, 9000)).save(root / "cat" / "bomb.png")
    monkeypatch.setattr(image_file, "_pixels", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="more than 64 million"):
        image_file.read_picture(root / "cat" / "bomb.png")


def test_other_and_hidden_files_are_passed_over(make_folder):
    root = make_folder()
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    (root / ".cache").mkdir()
    (root / "README.md").write_text("hello")
    source = load_source(root)
    assert len(source.train) == 8
    assert "2 files that are not" in notices(source)
    assert "hidden" not in notices(source)


def test_links_that_lead_outside_are_not_followed(make_folder, tmp_path):
    root = make_folder()
    secret = tmp_path / "secret.png"
    random_image(1).save(secret)
    outside = tmp_path / "outside"
    fill(outside, "deep", random_image(2))
    os.symlink(secret, root / "cat" / "link.png")
    os.symlink(outside, root / "cat" / "folder")
    os.symlink(outside / "deep", root / "stolen")
    os.symlink(tmp_path / "gone.png", root / "cat" / "dangling.png")
    source = load_source(root)
    assert len(source.train) == 8
    assert source.train.classes == ("cat", "dog")
    assert "4 links that lead outside" in notices(source)


def test_links_inside_the_folder_are_followed_but_loops_are_not(make_folder):
    root = make_folder()
    os.symlink(root / "cat" / "000.png", root / "dog" / "link.png")
    os.symlink(root, root / "cat" / "loop")
    assert len(load_source(root).train) == 9


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_with_the_name_of_an_image_is_passed_over(make_folder):
    root = make_folder()
    os.mkfifo(root / "cat" / "pipe.png")
    assert len(load_source(root).train) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
def test_absurd_names_load_and_print(make_folder):
    root = make_folder("a\nb", "\u202eevil", "x" * 200)
    os.makedirs(os.fsencode(root) + b"/\xff\xfe")
    random_image(3).save(
        os.fsencode(root).decode("utf-8", "surrogateescape") + "/\udcff\udcfe/x.png"
    )
    source = load_source(root)
    for name in (*source.train.classes, *source.train.names):
        assert name.isprintable()
        name.encode()
    assert source.train.n_classes == 4


# --- groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [r"^(\d)", r"^(?P<group>\d)(\d)"])
def test_group_pattern_takes_its_group_from_the_path(make_folder, pattern):
    train = load_source(make_folder(n=12), group_pattern=pattern).train
    assert set(train.groups) == {"0"}


def test_group_pattern_sees_folders_below_the_class(make_folder):
    root = make_folder("cat/p1", "cat/p2", "dog/p1", "dog/p3")
    train = load_source(root, group_pattern=r"^(p\d)/").train
    assert sorted(set(train.groups)) == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "must be a regular expression"),
        ("x", "exactly one group"),
        ("(a)(b)", "exactly one group"),
    ],
)
def test_bad_group_patterns_are_refused(make_folder, pattern, message):
    with pytest.raises(InvalidValueError, match=message):
        load_source(make_folder(), group_pattern=pattern)


def test_files_that_a_group_pattern_does_not_match_are_named(make_folder):
    with pytest.raises(DataError, match=r"no match of .* in 6 of 8: cat/001.png"):
        load_source(make_folder(), group_pattern="^(000)")


def test_a_group_in_two_splits_is_refused(make_folder):
    root = make_folder("train/a", "train/b", "test/a", "test/b")
    with pytest.raises(DataError, match="got 4 groups in several: 000, 001, 002, 003"):
        load_source(root, group_pattern=r"(\d+)")


def test_group_pattern_is_for_folders():
    with pytest.raises(InvalidValueError, match="`group_pattern` is for folders"):
        load_source("digits", group_pattern="(x)")


def test_group_column_is_for_tables():
    with pytest.raises(InvalidValueError, match="`group_column` is for tables"):
        load_source("digits", group_column="patient")
