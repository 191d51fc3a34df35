"""`policysearch apply`: formats, names, repeatability, and hostile folders."""

import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from policysearch import cli
from policysearch.cli.image_store import open_image
from policysearch.policy import Mix, OpCall, Policy, Schedule, Stage, SubPolicy
from policysearch.policy_json import PolicyDocument, write_policy_file


def policy_file(path, *calls, **fields):
    """A policy that always applies the given ops, in order."""
    policy = Policy((SubPolicy(tuple(Stage((call,)) for call in calls)),), **fields)
    write_policy_file(path, PolicyDocument(policy))
    return str(path)


@pytest.fixture
def flip(tmp_path):
    return policy_file(tmp_path / "flip.json", OpCall("flip_horizontal"))


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes with a few small photos."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs/deep"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def apply(*words):
    return cli.main(["apply", *map(str, words)])


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def png(width, height, depth=8, colour=2, body=b""):
    """A PNG made by hand, with a header that may lie."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def test_names_folders_and_copies(photos, tmp_path, capsys):
    assert apply("trivialaugment-wide", photos, tmp_path / "out", "--copies", "2") == 0
    names = set(files_of(tmp_path / "out"))
    assert len(names) == 12
    assert {"cats/0.aug0.png", "cats/0.aug1.png", "dogs/deep/2.aug1.png"} <= names
    assert "Wrote 12 images" in capsys.readouterr().out


def test_a_result_depends_on_seed_path_and_copy_only(photos, tmp_path):
    apply("trivialaugment-wide", photos, tmp_path / "a", "--copies", "2")
    other = tmp_path / "elsewhere"
    (other / "cats").mkdir(parents=True)
    (other / "cats" / "0.png").write_bytes((photos / "cats" / "0.png").read_bytes())
    apply("trivialaugment-wide", other, tmp_path / "b", "--copies", "3")
    apply("trivialaugment-wide", photos, tmp_path / "c", "--copies", "2", "--seed", "1")
    a, b, c = (files_of(tmp_path / name) for name in "abc")
    assert all(a[name] == b[name] for name in ("cats/0.aug0.png", "cats/0.aug1.png"))
    assert a.keys() == c.keys()
    assert a != c
    assert len({a["cats/0.aug0.png"], a["cats/0.aug1.png"], b["cats/0.aug2.png"]}) > 1


def test_no_augmentation_loses_nothing_in_lossless_formats(photos, tmp_path):
    source = tmp_path / "formats"
    source.mkdir()
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for suffix in ("png", "bmp", "ppm"):
        Image.fromarray(rgb).save(source / f"rgb.{suffix}")
    Image.fromarray(rgb).save(source / "lossless.webp", lossless=True)
    Image.fromarray(rgb[..., 0]).save(source / "gray.png")
    Image.fromarray(rng.integers(0, 65536, (9, 7)).astype(np.uint16)).save(source / "deep.png")
    Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)).save(source / "rgba.png")
    gray_alpha = Image.fromarray(rgb[..., 0])
    gray_alpha.putalpha(Image.fromarray(rgb[..., 1]))
    gray_alpha.save(source / "la.png")
    assert apply("none", source, tmp_path / "out") == 0
    for path in source.iterdir():
        with Image.open(path) as before:
            copy = tmp_path / "out" / f"{path.stem}.aug0{path.suffix}"
            with Image.open(copy) as after:
                assert (after.mode, after.format) == (before.mode, before.format), path.name
                assert np.array_equal(np.asarray(after), np.asarray(before)), path.name


def test_palette_bilevel_and_cmyk_become_what_ops_understand(flip, tmp_path, capsys):
    source = tmp_path / "modes"
    source.mkdir()
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:, :2] = (200, 10, 10)
    palette = Image.fromarray(colours).quantize(4)
    palette.save(source / "p.png")
    palette.info["transparency"] = 0
    palette.save(source / "pt.png", transparency=0)
    Image.fromarray(colours[..., 0] > 0).save(source / "one.png")
    Image.fromarray(colours).convert("CMYK").save(source / "cmyk.jpg")
    assert apply(flip, source, tmp_path / "out") == 0
    modes = {}
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            modes[path.name] = image.mode
            flipped = np.asarray(image.convert("RGB")).astype(int)
        if path.name != "pt.aug0.png":
            assert flipped[0, 3, 0] > flipped[0, 0, 0] + 100, path.name
    assert modes == {
        "p.aug0.png": "RGB",
        "pt.aug0.png": "RGBA",
        "one.aug0.png": "L",
        "cmyk.aug0.jpg": "RGB",
    }
    assert "CMYK" in capsys.readouterr().err


def test_transparency_moves_with_the_picture_and_keeps_its_values(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, 0] = (10, 20, 30, 200)
    Image.fromarray(pixels).save(source / "a.png")
    policy = policy_file(tmp_path / "p.json", OpCall("flip_horizontal"), OpCall("invert"))
    assert apply(policy, source, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "a.aug0.png") as image:
        result = np.asarray(image)
    assert result[0, 3].tolist() == [245, 235, 225, 200]
    assert result[0, 0].tolist() == [255, 255, 255, 0]


def test_what_comes_in_from_outside_is_transparent(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(source / "a.png")
    call = OpCall("translate_x", 0.5, 0.5)
    policy = policy_file(tmp_path / "p.json", call, fill=1.0)
    assert apply(policy, source, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "a.aug0.png") as image:
        alpha = np.asarray(image)[..., 3]
    assert sorted(np.unique(alpha[0])) == [0, 255]
    assert (alpha == 0).sum() == 32


def test_what_is_opaque_and_what_is_clear_stay_so_when_chains_are_mixed(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    image = Image.new("RGBA", (8, 8), (1, 2, 3, 255))
    image.paste((1, 2, 3, 0), (0, 0, 8, 4))
    image.save(source / "a.png")
    policy = policy_file(tmp_path / "p.json", OpCall("flip_horizontal"), mix=Mix())
    assert apply(policy, source, tmp_path / "out", "--copies", "20") == 0
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as result:
            assert np.unique(np.asarray(result)[:4, :, 3]) == [0]
            assert np.unique(np.asarray(result)[4:, :, 3]) == [255]


def test_a_schedule_is_applied_at_full_strength_and_that_is_said(photos, tmp_path, capsys):
    for name, schedule in (("plain", None), ("rising", Schedule.even([0.1, 1]))):
        path = policy_file(tmp_path / f"{name}.json", OpCall("invert"), schedule=schedule)
        assert apply(path, photos, tmp_path / name) == 0
        said = "copies get all of it" in capsys.readouterr().err
        assert said == (schedule is not None)
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "rising")


def test_an_image_is_turned_upright(flip, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.zeros((4, 6, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(source / "a.jpg", exif=exif)
    assert apply(flip, source, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "a.aug0.jpg") as result:
        assert result.size == (4, 6)
        assert result.getexif().get(0x0112, 1) == 1
    assert "turned upright" in capsys.readouterr().err


def test_bad_images_are_named_and_nothing_is_written(flip, photos, tmp_path, capsys):
    good = (photos / "cats" / "0.png").read_bytes()
    (photos / "cats" / "cut.png").write_bytes(good[: len(good) // 2])
    (photos / "cats" / "bomb.png").write_bytes(png(60_000, 60_000))
    (photos / "cats" / "text.jpg").write_text("hello")
    (photos / "cats" / "link.png").symlink_to("/etc/hostname")
    (photos / "cats" / "\x1b[2Jnasty.png").write_bytes(b"")
    assert apply(flip, photos, tmp_path / "out") == 2
    captured = capsys.readouterr()
    for part in ("cut.png: damaged", "bomb.png: more than", "text.jpg: not a JPEG", "link.png: a"):
        assert part in captured.err
    assert "\x1b" not in captured.err
    assert "\\x1b[2Jnasty.png" in captured.err
    assert "5 of 11 images" in captured.err
    assert not (tmp_path / "out").exists()


def test_skip_bad_goes_on_and_lists(flip, photos, tmp_path, capsys):
    (photos / "cats" / "text.jpg").write_text("hello")
    (photos / "notes.txt").write_text("hello")
    assert apply(flip, photos, tmp_path / "out", "--skip-bad", "--json") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["written"] == 6
    assert [item["file"] for item in report["skipped"]] == ["cats/text.jpg"]
    assert report["ignored"] == ["notes.txt"]
    assert "text.jpg" in captured.err
    assert len(files_of(tmp_path / "out")) == 6


def test_only_bad_images_are_an_error_even_when_skipped(flip, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no")
    assert apply(flip, tmp_path / "in", tmp_path / "out", "--skip-bad") == 2
    assert "a.png" in capsys.readouterr().err


def test_folders_that_would_do_harm_are_refused(flip, photos, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    (tmp_path / "empty").mkdir()
    (tmp_path / "alias").symlink_to(photos)
    for source, target, text in (
        (photos, full, "--force"),
        (photos, photos / "out", "inside SRC"),
        (photos, photos, "inside SRC"),
        (photos, tmp_path / "alias" / "out", "inside SRC"),
        (photos, full / "mine.txt", "is a file"),
        (tmp_path / "nowhere", tmp_path / "out", "does not exist"),
        (full / "mine.txt", tmp_path / "out", "is not a folder"),
        (tmp_path / "empty", tmp_path / "out", "holds no JPEG"),
    ):
        assert apply(flip, source, target) == 2, (source, target)
        captured = capsys.readouterr()
        assert text in captured.err
        assert captured.out == ""
    assert not (tmp_path / "out").exists()
    assert files_of(full) == {"mine.txt": b"keep"}


def test_force_writes_beside_what_is_there(flip, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert apply(flip, photos, out, "--force") == 0
    assert apply(flip, photos, out, "--force", "-q") == 0
    names = set(files_of(out))
    assert "mine.txt" in names
    assert len(names) == 7


def test_links_pipes_and_hidden_files_are_passed_over(flip, photos, tmp_path):
    (photos / "loop").symlink_to(photos)
    (photos / "cats" / "again.png").symlink_to(photos / "cats" / "0.png")
    (photos / ".hidden.png").write_bytes(b"no")
    os.mkfifo(photos / "pipe.png")
    assert apply(flip, photos, tmp_path / "out") == 0
    names = set(files_of(tmp_path / "out"))
    assert len(names) == 7
    assert "cats/again.aug0.png" in names


def test_an_undecodable_file_name_is_kept(flip, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("L", (4, 4)).save(source / "a.png")
    try:
        os.rename(source / "a.png", source / name)
    except OSError:
        pytest.skip("this file system refuses such names")
    assert apply(flip, source, tmp_path / "out") == 0
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.aug0.png"]


def test_a_write_that_fails_leaves_no_half_file(flip, photos, tmp_path, monkeypatch, capsys):
    import errno

    def full(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device", "out")

    monkeypatch.setattr("policysearch.cli.augment_folder.os.replace", full)
    assert apply(flip, photos, tmp_path / "out") == 1
    assert "Free some space" in capsys.readouterr().err
    assert files_of(tmp_path / "out") == {}


def test_deep_colour_is_read_at_8_bits_and_said(flip, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    row = b"\0" + b"\xff\xff" * 3 * 4
    (source / "a.png").write_bytes(png(4, 2, depth=16, body=row * 2))
    assert apply(flip, source, tmp_path / "out") == 0
    assert "16-bit colour" in capsys.readouterr().err
    assert open_image(tmp_path / "out" / "a.aug0.png").colour.dtype == np.uint8


def test_an_empty_path_is_not_the_current_folder(flip, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    assert apply(flip, "", tmp_path / "out") == 2
    assert "it is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_works_on_whole_batches_is_refused_before_anything_is_read(tmp_path, capsys):
    assert cli.main(["apply", "mixup", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "policysearch.collate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
